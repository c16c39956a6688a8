"""The real relay-agent, polling."""

import json
import tempfile

from support.processes import BUILD, Process, agent_command, assert_no_report, clean_environment


class Agent:
    def __init__(self, settings, words=("run",), build=None):
        self.state = tempfile.TemporaryDirectory(prefix="relay-agent.")
        self.settings = {"STATE_DIR": self.state.name, **settings}
        self.words = words
        self.build = build or BUILD
        self.process = None

    def start(self):
        self.process = Process(agent_command(*self.words, build=self.build), env=clean_environment(self.settings))
        return self

    @property
    def log(self):
        return self.process.log

    def stop(self, expected=0):
        code = self.process.stop()
        assert_no_report(self.log)
        assert code == expected, f"exit {code}:\n{self.log}"

    def kill(self):
        self.process.kill()
        assert_no_report(self.log)

    def close(self):
        """For the end of a test: a process that a test has ended itself is left as it is."""
        if self.process and self.process.is_running():
            self.stop()
        self.state.cleanup()

    def events_of(self, command_id):
        """The log lines that name this command (JSON format)."""
        return [json.loads(line) for line in self.process.lines if command_id in line]

    def event_of(self, command_id):
        """The one line that a command leaves when it ends."""
        self.process.wait_for(lambda line: command_id in line)
        events = self.events_of(command_id)
        assert len(events) == 1, events
        return events[0]

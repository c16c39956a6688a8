"""The programs of the build under test, and other real processes, started and stopped by pid."""

import atexit
import os
import pathlib
import re
import shlex
import signal
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = (ROOT / os.environ.get("RELAY_BUILD_DIR", "build")).resolve()
# Under valgrind everything is an order of magnitude slower: waits are upper bounds, not pauses.
PATIENCE = 60

_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")
_KEPT_PREFIXES = ("ASAN_", "LSAN_", "UBSAN_", "TSAN_", "GCOV_", "VALGRIND_")
_REPORT = re.compile(r"ERROR: \w+Sanitizer|runtime error: |^==\d+== ", re.MULTILINE)


def wrapper():
    return shlex.split(os.environ.get("RELAY_WRAPPER", ""))


def agent_command(*words, build=BUILD):
    return [*wrapper(), str(build / "relay-agent"), *map(str, words)]


def clean_environment(settings=None):
    """Only what a program needs to run, so that no setting comes from the caller's shell."""
    kept = {name: value for name, value in os.environ.items()
            if name in _KEPT or name.startswith(_KEPT_PREFIXES)}
    kept.update({name: str(value) for name, value in (settings or {}).items()
                 if value is not None})
    return kept


def assert_no_report(log):
    """No memory checker has complained, whatever the exit code was."""
    assert not _REPORT.search(log), log


class Run:
    """A verb of the agent that has ended."""

    def __init__(self, words, env=None, stdin=b"", cwd=None):
        if isinstance(stdin, str):
            stdin = stdin.encode()
        done = subprocess.run(agent_command(*words), env=clean_environment(env), input=stdin,
                              capture_output=True, timeout=PATIENCE, cwd=cwd)
        self.code = done.returncode
        self.bytes = done.stdout
        self.out = done.stdout.decode(errors="surrogateescape")
        self.err = done.stderr.decode(errors="surrogateescape")
        assert_no_report(self.err)

    @property
    def all(self):
        return self.out + self.err


_started = []


@atexit.register
def _end_what_failing_tests_left():
    for popen in _started:
        if popen.poll() is None:
            popen.kill()
            popen.wait()


class Process:
    """A running process whose output is read as it comes, so that tests can wait for a line."""

    def __init__(self, command, env=None, **options):
        self.popen = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
        _started[:] = [popen for popen in _started if popen.poll() is None] + [self.popen]
        self._lines = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.popen.stdout:
            with self._news:
                self._lines.append(line.decode(errors="replace").rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    @property
    def lines(self):
        with self._news:
            return list(self._lines)

    @property
    def log(self):
        return "\n".join(self.lines)

    def is_running(self):
        return self.popen.poll() is None

    def wait_for(self, predicate, timeout=PATIENCE):
        """Returns the first line that the predicate accepts, old or new."""
        deadline = time.monotonic() + timeout
        seen = 0
        with self._news:
            while True:
                for line in self._lines[seen:]:
                    if predicate(line):
                        return line
                seen = len(self._lines)
                left = deadline - time.monotonic()
                assert left > 0, "no such line:\n" + "\n".join(self._lines)
                assert self._reader.is_alive() or len(self._lines) > seen, (
                    "ended without such a line:\n" + "\n".join(self._lines))
                self._news.wait(min(left, 1))

    def signal(self, number):
        self.popen.send_signal(number)

    def wait(self, timeout=PATIENCE):
        code = self.popen.wait(timeout)
        self._reader.join(timeout)
        return code

    def stop(self, timeout=PATIENCE):
        """SIGTERM, then the exit status."""
        if self.is_running():
            self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self):
        if self.is_running():
            self.popen.kill()
        return self.wait()

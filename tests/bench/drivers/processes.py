"""Processes that are measured or measure: started, heard, and in every case stopped."""

import ctypes
import json
import os
import pathlib
import select
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = ROOT / "build"
LOOK_SECONDS = 0.25  # how often a wait looks around
PATIENCE = 120  # seconds that anything may take before it counts as stuck

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """A measurement that could not be made, with the reason for a person."""


def die_with_driver():
    """A driver that is killed takes what it started with it, also what stands still just now."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def environment(settings=None):
    """Only what a program needs, so that no setting comes from the caller's shell."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR")
            if name in os.environ}
    return {**kept, **{name: str(value) for name, value in (settings or {}).items()
                       if value is not None}}


class Process:
    """A program with its output in a file; `with` ends it."""

    def __init__(self, command, log, settings=None, **options):
        self.command = [str(word) for word in command]
        self.log = pathlib.Path(log)
        with open(self.log, "ab") as out:
            self.popen = subprocess.Popen(
                self.command, env=environment(settings),
                **{"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out,
                   "preexec_fn": die_with_driver, **options})

    @property
    def pid(self):
        return self.popen.pid

    def said(self):
        return self.log.read_text(errors="replace")[-2000:]

    def is_running(self):
        return self.popen.poll() is None

    def ended(self):
        """What to say about an end that nobody asked for."""
        name = pathlib.Path(self.command[0]).name
        return f"{name} ended with status {self.popen.poll()}: {self.said()}"

    def stop(self, number=signal.SIGTERM, seconds=20):
        """Its exit status; killed when it does not end."""
        if self.is_running():
            self.popen.send_signal(number)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop(signal.SIGKILL)
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe:
                pipe.close()

    def status(self, key):
        """A line of /proc/PID/status as a number (kB where it is a size)."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1])
        raise Failure(f"/proc/{self.pid}/status has no {key}")

    def threads(self):
        return [int(name) for name in os.listdir(f"/proc/{self.pid}/task")]

    def descriptors(self):
        """(connections, others) that it has open."""
        kinds = []
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                kinds.append(os.readlink(f"/proc/{self.pid}/fd/{name}").startswith("socket:"))
            except FileNotFoundError:
                pass  # closed meanwhile
        return sum(kinds), len(kinds) - sum(kinds)

    def cpu_seconds(self):
        """Processor time of all its threads, to the nanosecond: the clock that
        clock_getcpuclockid(3) gives for the process."""
        return time.clock_gettime(~self.pid << 3 | 2)

    def wakeups(self):
        total = 0
        for thread in self.threads():
            text = pathlib.Path(f"/proc/{self.pid}/task/{thread}/status").read_text()
            total += int(text.split("\nvoluntary_ctxt_switches:")[1].split()[0])
        return total


class Talker(Process):
    """A program of tests/bench: says lines "word JSON" on its standard output."""

    def __init__(self, command, log):
        super().__init__(command, log, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pending = b""

    def tell(self, line):
        self.popen.stdin.write(line.encode() + b"\n")
        self.popen.stdin.flush()

    def _line(self, deadline, others, meanwhile):
        while b"\n" not in self.pending:
            left = max(0, deadline - time.monotonic())
            if not select.select([self.popen.stdout], [], [], min(left, LOOK_SECONDS))[0]:
                self._check(deadline, others)
                if meanwhile:
                    meanwhile(*others)
                continue
            chunk = os.read(self.popen.stdout.fileno(), 65536)
            if not chunk:
                self.popen.wait(5)
                raise Failure(self.ended())
            self.pending += chunk
        line, self.pending = self.pending.split(b"\n", 1)
        return line.decode()

    def _check(self, deadline, others):
        for process in others:
            if not process.is_running():
                raise Failure(process.ended())
        if time.monotonic() >= deadline:
            said = "".join(process.said() for process in others)
            raise Failure(f"{self.command[0]} says nothing. {said}")

    def has_said(self, seconds, others, deadline):
        """Waits so long for something to hear. The others must not end, nor the deadline pass."""
        if b"\n" in self.pending or select.select([self.popen.stdout], [], [], seconds)[0]:
            return True
        self._check(deadline, others)
        return False

    def hear(self, word, others=(), seconds=PATIENCE, meanwhile=None):
        """Waits for that line; its value. The others must not end meanwhile; meanwhile(*others)
        is called a few times a second."""
        deadline = time.monotonic() + seconds
        while True:
            first, _, rest = self._line(deadline, others, meanwhile).partition(" ")
            if first == word:
                return json.loads(rest) if rest else None

"""Every system call of a command's way fails once: strace makes the N-th call of one kind return an
error, for each N. The agent must not crash, not hang, lose nothing and repeat nothing."""

import collections
import concurrent.futures
import json
import pathlib
import re
import subprocess
import tempfile
import time

from support.agents import Agent
from support.fake_service import FakeService
from support.journals import Journal
from support.raw_target import RawTarget, text
from support.tracer import attach

# Which errors make sense. Not among them: epoll_ctl, and any but EINTR of the pipes and event
# descriptors with which libuv talks to itself (it aborts, and no kernel returns such a thing), and
# a lock that cannot be given back (nor does that; SQLite then waits for itself for ten seconds).
ERRORS = {
    "openat": ["EMFILE", "ENOSPC", "EIO"],
    "write": ["EINTR", "ENOSPC"],
    "pwrite64": ["EIO", "ENOSPC", "EINTR"],
    "pread64": ["EIO", "EINTR"],
    "read": ["EINTR"],
    "fdatasync": ["EIO", "ENOSPC"],
    "fsync": ["EIO"],
    "ftruncate": ["EIO"],
    "rename": ["EIO", "ENOSPC"],
    "unlink": ["EIO"],
    "newfstatat": ["EIO"],
    "fcntl": ["EIO"],
    "lseek": ["EIO"],
    "socket": ["EMFILE"],
    "connect": ["ECONNRESET", "EINTR"],
    "sendto": ["ECONNRESET", "EINTR", "EIO"],
    "recvfrom": ["ECONNRESET", "EINTR", "EIO"],
    "getsockopt": ["EIO"],
    "epoll_wait": ["EINTR"],
    "epoll_pwait": ["EINTR"],
    "close": ["EINTR"],
}
DRAIN_SECONDS = 3
END_SECONDS = 45
LEASE_SECONDS = 5

Injection = collections.namedtuple("Injection", "call error number")
Sent = collections.namedtuple("Sent", "id method url body fields")


class Way:
    """One agent under strace on a service and a target of its own, and commands of each size."""

    def __init__(self, folder, injection=None):
        self.trace = pathlib.Path(folder, "trace")
        self.injection = injection
        self.fake = FakeService()
        self.raw = RawTarget()
        self.agent = Agent(self.fake.settings(POLL_WAIT_SECONDS=1, DRAIN_SECONDS=DRAIN_SECONDS))
        self.tracer = None
        self.sent = []

    def start(self):
        """It traces what follows the start: a start that fails ends, with a message."""
        self.agent.start()
        self.agent.process.wait_for(lambda line: "connected" in line)
        inject = []
        if self.injection:
            inject = ["-e", f"inject={self.injection.call}:error={self.injection.error}:"
                            f"when={self.injection.number}"]
        self.tracer = attach(self.agent.process.popen.pid, self.trace, ERRORS, *inject)

    def send(self, method, size, **fields):
        body = method + "x" * size
        url = self.raw.url(text(body))
        command_id = self.fake.give({"method": method, "url": url}, **fields)
        self.sent.append(Sent(command_id, method, url, body, fields))

    def go(self):
        self.send("POST", 10)
        self.send("GET", 10)
        self.send("PATCH", 300000)
        self.send("PUT", 1500000, responseBodyUploadUrl=f"{self.fake.url}/upload/answer")
        for lease in range(END_SECONDS // LEASE_SECONDS):
            if self.wait_for_ends():
                return
            self.deliver_again(lease + 2)
        raise AssertionError("no end:\n" + self.agent.log[-3000:])

    def wait_for_ends(self):
        try:
            self.fake.wait_for(lambda: all(self.updates_of(sent) for sent in self.sent),
                               LEASE_SECONDS)
        except AssertionError:
            return False
        return True

    def deliver_again(self, attempt):
        """A delivery may be lost on its way: its lease runs out."""
        for sent in self.sent:
            if not self.updates_of(sent):
                self.fake.give({"method": sent.method, "url": sent.url}, commandId=sent.id,
                               attempt=attempt, **sent.fields)

    def updates_of(self, sent):
        return [update for update in self.fake.updates if update["commandId"] == sent.id]

    def stop(self):
        """The agent's exit status."""
        begun = time.monotonic()
        code = self.agent.process.stop(END_SECONDS)
        took = time.monotonic() - begun
        assert took < DRAIN_SECONDS + 3, f"it took {took:.1f} s to stop"
        self.tracer.wait()
        return code

    def close(self):
        for process in (self.agent.process, self.tracer):
            if process:
                process.kill()
        self.agent.state.cleanup()
        self.fake.close()
        self.raw.close()

    # -- what must hold -------------------------------------------------------------

    def check(self):
        assert self.agent.process.is_running(), "it ended by itself"
        for sent in self.sent:
            updates = self.updates_of(sent)
            ends = {(u["status"], json.dumps(u.get("body")), u.get("responseBodyDelivery"))
                    for u in updates}
            assert len(ends) == 1, f"{sent.method} ended in different ways: {str(ends)[:1000]}"
            self.check_end(sent, updates[0])

    def check_end(self, sent, update):
        requests = len(self.raw.requests(sent.url))
        if sent.method in ("POST", "PATCH"):
            assert requests <= 1, f"{sent.method} was repeated"
        if update.get("responseBodyDelivery") == "referenced":
            assert update["status"] == "SUCCESS" and requests >= 1
            content = json.loads(self.fake.uploads["/upload/answer"][1])
            assert content["body"] == sent.body
        elif update["status"] == "SUCCESS":
            assert update["body"]["body"] == sent.body and requests >= 1
        else:
            assert update["status"] == "FAILURE", update
            assert json.loads(update["body"]["body"])["code"], update

    def was_injected(self):
        return bool(self.injected_lines())

    def makes_sense(self):
        """The same number may be another call in another run, or in another thread."""
        return self.injection.error == "EINTR" or not any(map(_INNER.match, self.injected_lines()))

    def injected_lines(self):
        return [call for _, call in whole_calls(self.trace) if "(INJECTED)" in call]


def run(folder, injection):
    """(was the call reached, what is wrong or None)."""
    way = Way(folder, injection)
    try:
        way.start()
        way.go()
        way.check()
        code = way.stop()
        assert code == 0, f"exit status {code}"
        assert Journal(way.agent).listing() == {}, "something still waits"
        return way.was_injected(), None
    except (AssertionError, subprocess.TimeoutExpired) as error:
        if not way.makes_sense():
            return False, None
        return way.was_injected(), f"{error}\n{way.agent.log[-3000:]}"
    finally:
        way.close()


# What a call is about, as strace -y shows it: libuv's own pipes and event descriptors, or not.
_INNER = re.compile(r"^\w+\(\d+<(pipe|anon_inode)|^fcntl\(.*F_UNLCK")


def whole_calls(path):
    """(thread, call) of a trace's lines. strace writes one that another thread interrupts in two
    pieces: they are put together where the second one is."""
    begun = {}
    for line in path.read_text(errors="replace").splitlines():
        thread, _, call = line.partition(" ")
        call = call.lstrip()
        if call.endswith("<unfinished ...>"):
            begun[thread] = call.removesuffix("<unfinished ...>").rstrip()
        elif call.startswith("<... "):
            yield thread, begun.pop(thread, "") + call.partition(">")[2]
        else:
            yield thread, call
    yield from begun.items()


def find_calls():
    """{call: [(number, is it about something of libuv's own)]} in a run in which nothing fails."""
    with tempfile.TemporaryDirectory() as folder:
        way = Way(folder)
        try:
            way.start()
            way.go()
            way.stop()
            return read_trace(way.trace)
        finally:
            way.close()


def read_trace(path):
    """strace counts the calls of each thread by themselves, and so fails those of one number in
    all of them."""
    is_inner, numbers = collections.defaultdict(dict), collections.Counter()
    for thread, text_of_call in whole_calls(path):
        match = re.match(r"(\w+)\(", text_of_call)
        if not match:
            continue
        call = match.group(1)
        numbers[call, thread] += 1
        number = numbers[call, thread]
        is_inner[call][number] = (is_inner[call].get(number, False) or
                                  bool(_INNER.match(text_of_call)))
    return {call: sorted(inner.items()) for call, inner in is_inner.items()}


def injections(calls=None):
    found = find_calls()
    return [Injection(call, error, number)
            for call, errors in ERRORS.items() if calls is None or call in calls
            for error in errors
            for number, is_inner in found.get(call, []) if error == "EINTR" or not is_inner]


def sweep(wanted, jobs=2, say=print):
    """Runs them; how many were reached, and the failures: [(injection, what)]."""
    reached, failures = 0, []

    def one(injection):
        with tempfile.TemporaryDirectory() as folder:
            return injection, run(folder, injection)

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for injection, (was_reached, failure) in pool.map(one, wanted):
            reached += was_reached
            if failure:
                failures.append((injection, failure))
                say(f"FAILED {injection.call} {injection.error} #{injection.number}: {failure}")
    return reached, failures

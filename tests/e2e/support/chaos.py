"""Everything dies at random moments: one service, one agent after the other on the same journal, a
bad line between them, and a target that keeps every request. The seed decides what is sent and
what happens in which order; the machine decides the rest."""

import collections
import contextlib
import itertools
import json
import os
import random
import signal
import threading
import time
import urllib.parse

from support.agents import Agent
from support.processes import PATIENCE
from support.raw_target import RawTarget, Slow, answer
from support.requestors import PLAIN, V2, Requestor
from support.tcp_proxy import TcpProxy
from support.v2 import WithCryptography

KEY = bytes(range(32))
METHODS = ["GET", "PUT", "POST", "PATCH", "DELETE"]
UNREPEATABLE = ("POST", "PATCH")
SIZES = [0, 10, 3000, 300000, 1500000]  # a row, a file, an upload
DRAIN_SECONDS = 1

Command = collections.namedtuple("Command", "method url body action")


def choose_command(chooser, target, number):
    """One of many kinds, and what its target will answer."""
    body = f"answer {number} ".encode() + b"x" * chooser.choices(SIZES, [6, 6, 6, 4, 1])[0]
    url = target.url(Slow(chooser.choice([0, 0.02, 0.3]), answer(body=body)))
    return Command(chooser.choice(METHODS), url, body.decode(),
                   V2 if chooser.random() < 0.3 else PLAIN)


def payload_of(command):
    payload = {"method": command.method, "url": command.url}
    return WithCryptography.encrypt(KEY, payload) if command.action == V2 else payload


def check_all(requestor, sent, target, mode):
    """Every command of sent ({id: Command}) has ended as it may; how many were interrupted."""
    records = {command_id: requestor.wait(command_id) for command_id in sent}
    interrupted = sum(check(requestor, command_id, sent[command_id], record, target, mode)
                      for command_id, record in records.items())
    for command_id, record in records.items():
        assert requestor.wait(command_id)["status"] == record["status"], "its end is final"
    return interrupted


def check(requestor, command_id, command, record, target, mode):
    """True when it was interrupted."""
    told = requestor.stored_answer(record)
    if command.action == V2:
        told = WithCryptography.decrypt(KEY, told)
    times = len(target.requests(command.url))
    may_be_repeated = command.method not in UNREPEATABLE
    what = f"{command_id} {command.method}: {times} requests, {str(record)[:2000]}"
    if mode == "fail-all" or (mode == "fail" and not may_be_repeated):
        assert times <= 1, what
    if record["status"] == "SUCCESS":
        assert told["body"] == command.body and times >= 1, what
        return False
    assert record["status"] == "FAILURE", what
    assert json.loads(told["body"])["code"] == "INTERRUPTED", what
    assert mode == "fail-all" or (mode == "fail" and not may_be_repeated), what
    return True


class Settings:
    """What a run is asked for."""

    def __init__(self, seed, commands=150, kills=15, sigterms=0, service_kills=5, cuts=15, mode="fail",
                 seconds=12):
        self.seed, self.commands, self.mode, self.seconds = seed, commands, mode, seconds
        self.events = {"agent killed": kills, "agent stopped": sigterms,
                       "service killed": service_kills, "line cut": cuts, "line slow": cuts // 2}


class Chaos:
    def __init__(self, service, settings, say=print):
        self.settings = settings
        self.service = service
        self.say = say
        self.target = RawTarget()
        self.random = random.Random(settings.seed)
        service.start()
        agent_token = service.create_token("agent", "acme", "a")
        self.requestor = Requestor(service.url, "acme", service.create_token("requestor", "acme"), "a")
        self.proxy = TcpProxy(self._address())
        self.agent = Agent({
            "COMMAND_SERVICE_URL": f"http://127.0.0.1:{self.proxy.port}", "AGENT_ID": "a",
            "ORG_SLUG": "acme", "AUTH_TOKEN": agent_token, "SECURE_COMMAND_KEY": KEY.hex(),
            "ON_INTERRUPTED": settings.mode, "POLL_WAIT_SECONDS": 5,
            "DRAIN_SECONDS": DRAIN_SECONDS}).start()
        self.happened = collections.Counter()
        self.sent = {}
        self.failure = None

    def _address(self):
        return "127.0.0.1", urllib.parse.urlsplit(self.service.url).port

    # -- what happens ---------------------------------------------------------------

    def happen(self, what):
        {"agent killed": self.kill_agent, "agent stopped": self.stop_agent,
         "service killed": self.kill_service, "line cut": self.cut_line,
         "line slow": self.slow_line}[what]()
        self.happened[what] += 1

    def kill_agent(self):
        assert self.agent.process.is_running(), self.agent.log
        self.agent.kill()
        assert self.agent.process.popen.returncode == -signal.SIGKILL
        self.agent.start()

    def stop_agent(self):
        assert self.agent.process.is_running(), self.agent.log
        begun = time.monotonic()
        code = self.agent.process.stop()
        took = time.monotonic() - begun
        # One that had not said a word was not yet running its own code, but being loaded.
        was_loading = code == -signal.SIGTERM and not self.agent.log
        assert code == 0 or was_loading, f"exit {code}:\n{self.agent.log}"
        assert took < DRAIN_SECONDS + 5, f"it took {took:.1f} s to stop"
        self.agent.start()

    def kill_service(self):
        self.service.kill()
        self.service.start()
        self.proxy.address = self._address()

    def cut_line(self):
        self.proxy.cut(with_reset=self.random.random() < 0.5)

    def slow_line(self):
        self.proxy.pause = self.random.choice([0, 0.02, 0.2])

    # -- what is sent ---------------------------------------------------------------

    def submit(self, command):
        """As a requestor that tries again with one Idempotency-Key until the service has it."""
        payload = payload_of(command)
        key = os.urandom(8).hex()
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError, AssertionError):
                self.requestor.address = urllib.parse.urlsplit(self.service.url).netloc
                status, record = self.requestor.call(
                    "POST", "/v1/commands",
                    {"targetId": "a", "action": command.action, "payload": payload,
                     "expiresAt": "2099-01-01T00:00:00Z"}, {"Idempotency-Key": key})
                if status == 200:
                    return record["id"]
            assert time.monotonic() < deadline, "the service takes nothing"
            time.sleep(0.05)

    def send_all(self):
        chooser = random.Random(self.settings.seed + 1)
        pause = self.settings.seconds / self.settings.commands
        try:
            for number in range(self.settings.commands):
                command = choose_command(chooser, self.target, number)
                self.sent[self.submit(command)] = command
                time.sleep(chooser.random() * 1.6 * pause)
        except Exception as error:  # the main thread tells it
            self.failure = error

    # -- the whole ------------------------------------------------------------------

    def run(self):
        """Raises what went wrong; returns how many were interrupted."""
        events = [name for name, count in self.settings.events.items() for _ in range(count)]
        self.random.shuffle(events)
        sender = threading.Thread(target=self.send_all, daemon=True)
        sender.start()
        begun = time.monotonic()
        for number, event in enumerate(events, 1):
            # Spread over the time in which commands come, however long an event takes.
            due = begun + self.settings.seconds * (number - self.random.random()) / len(events)
            time.sleep(max(0.005, due - time.monotonic()))
            self.happen(event)
        sender.join(4 * PATIENCE)
        if self.failure:
            raise self.failure
        assert not sender.is_alive() and len(self.sent) == self.settings.commands
        self.proxy.pause = 0
        interrupted = check_all(self.requestor, self.sent, self.target, self.settings.mode)
        assert dict(self.happened) == {k: v for k, v in self.settings.events.items() if v}
        requests = sum(len(self.target.requests(command.url)) for command in self.sent.values())
        self.say(f"seed {self.settings.seed}, {self.settings.mode}: {len(self.sent)} commands, "
                 f"{requests} requests, {interrupted} interrupted, "
                 f"{time.monotonic() - begun:.0f} s; "
                 + ", ".join(f"{name} {count}" for name, count in self.happened.items()))
        return interrupted

    def close(self):
        self.agent.close()
        self.proxy.close()
        self.target.close()


def run(service, settings, say=print):
    chaos = Chaos(service, settings, say)
    try:
        return chaos.run()
    finally:
        chaos.close()


def seeds(first):
    """first, first + 1, … or random ones."""
    if first is not None:
        return itertools.count(first)
    return iter(lambda: random.randrange(1 << 30), None)

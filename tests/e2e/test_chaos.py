"""Everything dies at random moments; in the end each command has one answer, and nothing that may
have changed something was done twice.

    CHAOS_SEED=7 CHAOS_COMMANDS=1000 CHAOS_SECONDS=120 CHAOS_MODES=fail,retry,fail-all \
        /usr/bin/python3 -m pytest -s tests/e2e/test_chaos.py

repeats a run (the seed decides what is sent and what happens when; the machine decides the
rest)."""

import contextlib
import json
import os
import random
import threading
import time
import urllib.parse

import pytest

from support.agents import Agent
from support.raw_target import Slow, answer
from support.requestors import PLAIN, V2, Requestor
from support.tcp_proxy import TcpProxy
from support.v2 import WithCryptography

SEED = int(os.environ.get("CHAOS_SEED", random.randrange(1 << 30)))
COMMANDS = int(os.environ.get("CHAOS_COMMANDS", 150))
SECONDS = float(os.environ.get("CHAOS_SECONDS", 12))
MODES = os.environ.get("CHAOS_MODES", "fail").split(",")
KEY = bytes(range(32))
METHODS = ["GET", "PUT", "POST", "PATCH", "DELETE"]


class Chaos:
    """One service, one agent after the other on the same journal, a bad line between them."""

    def __init__(self, service, settings):
        self.random = random.Random(SEED)
        self.service = service
        self.proxy = TcpProxy(self._address())
        self.agent = Agent({**settings, "COMMAND_SERVICE_URL": f"http://127.0.0.1:{self.proxy.port}"})
        self.agent.start()
        self.events = {"agent killed": 0, "service killed": 0, "line cut": 0, "line slow": 0}

    def _address(self):
        return "127.0.0.1", urllib.parse.urlsplit(self.service.url).port

    def kill_agent(self):
        self.agent.kill()
        self.agent.start()
        self.events["agent killed"] += 1

    def kill_service(self):
        self.service.kill()
        self.service.start()
        self.proxy.address = self._address()
        self.events["service killed"] += 1

    def cut_line(self):
        self.proxy.cut(with_reset=self.random.random() < 0.5)
        self.events["line cut"] += 1

    def slow_line(self):
        self.proxy.pause = self.random.choice([0, 0.02, 0.2])
        self.events["line slow"] += 1

    def step(self):
        happening = self.random.choices(
            [self.kill_agent, self.cut_line, self.slow_line, self.kill_service], [6, 3, 2, 1])[0]
        happening()

    def close(self):
        self.agent.close()
        self.proxy.close()


def submit_through_trouble(requestor, service, payload, action):
    """A requestor that tries again with one Idempotency-Key until the service has taken it."""
    key = os.urandom(8).hex()
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError, AssertionError):
            requestor.address = urllib.parse.urlsplit(service.url).netloc
            status, record = requestor.call(
                "POST", "/v1/commands", {"targetId": requestor.target_id, "action": action,
                                         "expiresAt": "2099-01-01T00:00:00Z", "payload": payload},
                {"Idempotency-Key": key})
            if status == 200:
                return record["id"]
        assert time.monotonic() < deadline, "the service takes nothing"
        time.sleep(0.05)


def choose_request(chooser, raw, number):
    """One of many kinds, plain or sealed, and what its target will answer."""
    method = chooser.choice(METHODS)
    body = f"answer {number} " + "x" * chooser.choice([0, 10, 3000, 300000])
    url = raw.url(Slow(chooser.choice([0, 0.02, 0.3]), answer(body=body.encode())))
    payload, action = {"method": method, "url": url}, PLAIN
    if chooser.random() < 0.3:
        payload, action = WithCryptography.encrypt(KEY, payload), V2
    return method, url, body, payload, action


@pytest.mark.timing
@pytest.mark.parametrize("on_interrupted", MODES)
def test_nothing_is_lost_or_done_twice_whatever_dies(own_service, raw, on_interrupted):
    print(f"CHAOS_SEED={SEED}")
    own_service.start()
    tokens = [own_service.create_token("agent", "acme", "a"),
              own_service.create_token("requestor", "acme")]
    chaos = Chaos(own_service, {
        "AGENT_ID": "a", "ORG_SLUG": "acme", "AUTH_TOKEN": tokens[0],
        "SECURE_COMMAND_KEY": KEY.hex(), "ON_INTERRUPTED": on_interrupted, "POLL_WAIT_SECONDS": 5})
    chooser = random.Random(SEED)
    sent = {}

    def send_all():
        requestor = Requestor(own_service.url, "acme", tokens[1], "a")
        for number in range(COMMANDS):
            method, url, body, payload, action = choose_request(chooser, raw, number)
            command_id = submit_through_trouble(requestor, own_service, payload, action)
            sent[command_id] = (method, url, body, action)
            time.sleep(chooser.random() * SECONDS / COMMANDS)

    sender = threading.Thread(target=send_all)
    sender.start()
    try:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(chaos.random.random() * 0.3)
            chaos.step()
        sender.join(120)
        assert not sender.is_alive() and len(sent) == COMMANDS
        chaos.proxy.pause = 0
        interrupted = check_all(Requestor(own_service.url, "acme", tokens[1], "a"), sent, raw,
                                on_interrupted)
        print(chaos.events, f"{interrupted} interrupted")
    finally:
        sender.join(120)
        chaos.close()


def check_all(requestor, sent, raw, on_interrupted):
    interrupted = 0
    for command_id, (method, url, body, action) in sent.items():
        record = requestor.wait(command_id)
        told = requestor.stored_answer(record)
        if action == V2:
            told = WithCryptography.decrypt(KEY, told)
        times = len(raw.requests(url))
        what = f"seed {SEED}: {command_id} {method}: {times} requests, {str(record)[:2000]}"
        if record["status"] == "SUCCESS":
            assert told["body"] == body, what
            assert times >= 1, what
        else:
            interrupted += 1
            assert record["status"] == "FAILURE", what
            assert json.loads(told["body"])["code"] == "INTERRUPTED", what
            assert on_interrupted != "retry", what
            assert on_interrupted == "fail-all" or method in ("POST", "PATCH"), what
        if on_interrupted == "fail-all" or (on_interrupted == "fail" and method in ("POST", "PATCH")):
            assert times <= 1, what
    return interrupted

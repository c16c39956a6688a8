"""Large answers pass through the agent in little memory, and leave nothing of theirs behind."""

import base64
import os
import time
import uuid

import brotli
import pytest

from conftest import one_pair
from support.processes import PATIENCE
from support.raw_target import Gate, Hang, Step, answer, text
from support.requestors import PLAIN, V2
from support.v2 import WithCryptography

MIB = 1024 * 1024
KEY = bytes(range(32))


def memory(agent, name):
    with open(f"/proc/{agent.process.popen.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name + ":"))


def text_of(size):
    rows = b"".join(b"row %08d: caf\xc3\xa9 \"quoted\"\n" % number for number in range(size // 30 + 1))
    return rows[:size - 3] + b"end"


def binary_of(size):
    return (bytes(range(256)) * (size // 256 + 1))[:size]


@pytest.fixture(scope="module")
def pair(session_service, defaults, nginx):
    with one_pair(session_service, {**defaults, "SECURE_COMMAND_KEY": KEY.hex(),
                                    "MAX_RESPONSE_BYTES": 110 * MIB}) as pair:
        pair.requestor.send({"method": "GET", "url": nginx.file("small", b"small")})
        yield pair


def restart(pair):
    """A new process, whose memory has no high-water mark yet."""
    pair.agent.stop()
    pair.agent.start()
    pair.agent.process.wait_for(lambda line: "connected" in line)


without_checkers = pytest.mark.skipif(
    "san" in os.environ.get("RELAY_BUILD_DIR", "") or bool(os.environ.get("RELAY_WRAPPER")),
    reason="checkers take memory of their own")


@without_checkers
@pytest.mark.parametrize("make", [text_of, binary_of], ids=["text", "binary"])
@pytest.mark.parametrize("is_sealed", [False, True], ids=["plain", "sealed"])
def test_an_answer_of_100_mebibytes_takes_little_memory(pair, nginx, make, is_sealed):
    content = make(100 * MIB)
    payload = {"method": "GET", "url": nginx.file("hundred-mebibytes", content)}
    restart(pair)
    idle = memory(pair.agent, "VmRSS")
    if is_sealed:
        record = pair.requestor.send(WithCryptography.encrypt(KEY, payload), action=V2)
    else:
        record = pair.requestor.send(payload)
    assert record["status"] == "SUCCESS", record
    growth = memory(pair.agent, "VmHWM") - idle
    assert growth < 24 * 1000 * 1000, f"{growth / MIB:.1f} MiB above idle"
    answer = pair.requestor.stored_answer(record)
    if is_sealed:
        answer = WithCryptography.decrypt(KEY, answer)
    body = answer["body"]
    assert (body.encode() if make is text_of else base64.b64decode(body)) == content


@without_checkers
def test_what_a_burst_needed_goes_back_to_the_system(fake, fake_agent, raw):
    """A few seconds after the last command, but for the connections that are kept."""
    agent = fake_agent(MAX_IN_FLIGHT=200, MAX_IN_FLIGHT_PER_HOST=200)
    fake.send({"method": "GET", "url": raw.url(text("first"))})
    idle = memory(agent, "VmRSS")
    gate = Gate(answer(body=b"x" * 50000))
    url = raw.url(gate)
    ids = [fake.give({"method": "POST", "url": url, "body": {"mode": "raw", "raw": "y" * 50000}})
           for _ in range(200)]
    raw.wait_for(url, 200)
    gate.open.set()
    for command_id in ids:
        fake.wait_end(command_id)
    peak = memory(agent, "VmHWM") - idle
    assert peak > 20 * MIB, "or this test shows nothing"
    deadline = time.monotonic() + PATIENCE
    while memory(agent, "VmRSS") - idle > peak / 2:
        assert time.monotonic() < deadline, f"{peak} at most, {memory(agent, 'VmRSS') - idle} left"
        time.sleep(0.1)
    agent.stop()


class Unfinished(Step):
    """What is there of an answer, and then nothing more."""

    def __init__(self, content):
        self.content = content

    def play(self, connection, target, request):
        connection.sendall(self.content)
        return Hang().play(connection, target, request)


@without_checkers
def test_an_encoded_answer_that_does_not_end_holds_no_memory(fake, fake_agent, raw):
    """A few bytes of brotli that are 32 MiB, of which a decoder keeps 16 to look back."""
    agent = fake_agent(DRAIN_SECONDS=0)
    fake.send({"method": "GET", "url": raw.url(text("first"))})
    idle = memory(agent, "VmRSS")
    body = brotli.compress(bytes(32 * MIB))
    url = raw.url(Unfinished(answer(headers=["Content-Encoding: br"], body=body)[:-1]))
    for _ in range(16):
        fake.give({"method": "GET", "url": url, "timeout": 600000})
    raw.wait_for(url, 16)
    fake.send({"method": "GET", "url": raw.url(text("last"))})
    growth = memory(agent, "VmHWM") - idle
    assert growth < 16 * MIB, f"{growth / MIB:.1f} MiB for 16 answers"


def waiting(fake, url, count, content):
    """Commands for the next receive with something large that nobody needs beside a small request."""
    ids = [str(uuid.uuid4()) for _ in range(count)]
    fake.give_together([{"commandId": command_id, "action": PLAIN,
                         "body": {"method": "GET", "url": url, "timeout": 600000, "comment": content}}
                        for command_id in ids])
    return ids


@without_checkers
def test_large_commands_that_wait_are_not_in_memory(fake, fake_agent, raw, other_raw):
    gate = Gate(answer(body=b"ok"))
    url = raw.url(gate)
    agent = fake_agent(MAX_IN_FLIGHT_PER_HOST=1)
    fake.send({"method": "GET", "url": raw.url(text("first"))})
    idle = memory(agent, "VmRSS")
    ids = []
    for _ in range(6):
        ids += waiting(fake, url, 3, "x" * (9 * MIB))
        fake.wait_for(lambda: not fake.faults)
    ids += waiting(fake, url, 1, "small")  # is asked for when nearly all of these are there
    fake.wait_for(lambda: not fake.faults)
    fake.send({"method": "GET", "url": other_raw.url(text("last"))})
    growth = memory(agent, "VmRSS") - idle
    gate.open.set()
    fake.wait_for(lambda: {update["commandId"] for update in fake.updates} >= set(ids))
    assert growth < 100 * MIB, f"{growth / MIB:.1f} MiB of {6 * 3 * 9} MiB that wait"


@without_checkers
def test_what_nobody_needs_of_a_command_counts_while_it_waits(fake, fake_agent, raw):
    """In all 260 MiB, and the agent asks for no more where it holds 128."""
    gate = Gate(answer(body=b"ok"))
    url = raw.url(gate)
    fake_agent(MAX_IN_FLIGHT_PER_HOST=1)
    fake.wait_for_receives(2)
    ids = [command_id for _ in range(13)
           for command_id in waiting(fake, url, 100, "x" * (200 * 1024))]
    left = None
    while left != len(fake.faults):  # has it stopped?
        left = len(fake.faults)
        assert not fake.stopping.wait(2)
    assert left >= 4
    gate.open.set()
    fake.wait_for(lambda: {update["commandId"] for update in fake.updates} >= set(ids))

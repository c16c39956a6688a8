"""The service is away or answers nonsense, for minutes: how often it is asked, what the log says,
and how soon everything is posted when it is back."""

import collections
import concurrent.futures
import contextlib
import json
import sqlite3
import time

import pytest

from support.fake_service import FakeService, half_an_answer, hang, not_json, wrong
from support.fast_clock import FastClock
from support.journals import Journal
from support.processes import PATIENCE
from support.raw_target import Gate, Hang, RawTarget, answer, text
from support.requestors import PLAIN

pytestmark = pytest.mark.timing

ENDPOINTS = {"poll": "/receive", "post": "/commands/status", "keep": "/extend",
             "heartbeat": "/agent/status"}
# Full jitter: 0.5 s, 1 s, … 60 s, then one in 30 s on average. Three times the standard deviation
# above that.
RARE = {60: 16, 180: 24, 600: 45}


def counts(fake, since=0.0):
    """Calls by endpoint."""
    found = collections.Counter()
    for call in fake.calls:
        for name, end in ENDPOINTS.items():
            if call.path.endswith(end) and call.at >= since:
                found[name] += 1
    return found


def troubles(agent):
    return [line for line in agent.log.splitlines() if " fails: " in line]


# -- leases ---------------------------------------------------------------------------

def test_leases_that_are_all_lost_are_a_few_lines(fake, raw, tmp_path):
    """And results that nobody asked for are not looked at."""
    url = raw.url(Hang())
    commands = [{"commandId": f"c-{number}", "receipt": f"r-{number}", "action": PLAIN,
                 "body": {"method": "GET", "url": url}} for number in range(30)]
    lost = [{"receipt": command["receipt"], "result": "lost"} for command in commands]
    unknown = [{"receipt": f"x-{number}", "result": "lost"} for number in range(30)]
    for results in (unknown + lost, lost + unknown):
        fake.extend_faults.append(wrong(200, content=json.dumps({"results": results}).encode()))
    fake.give_together(commands)
    agent = FastClock(tmp_path, 20).agent(fake, MAX_IN_FLIGHT_PER_HOST=1)
    try:
        agent.process.wait_for(lambda line: "of 27 more commands were lost" in line)
        assert len(fake.calls_to("extend")) >= 2, agent.log
        lines = [line for line in agent.log.splitlines() if " lost, " in line]
        assert [f"c-{number}" in line for number, line in enumerate(lines)] == [True] * 3 + [False]
    finally:
        agent.close()


# -- away -----------------------------------------------------------------------------

def answers_that_wait(fake, agent, raw, count, size):
    """So many answers that came while the service was away."""
    gate = Gate(answer(body=b"x" * size))
    url = raw.url(gate)
    ids = [fake.give({"method": "POST", "url": url}) for _ in range(count)]
    raw.wait_for(url, count)
    return ids, gate, url


def all_posted(fake, ids):
    def posted():
        return {update["commandId"] for update in fake.updates} >= set(ids)
    fake.wait_for(posted)
    return time.monotonic()


def test_ten_minutes_without_the_service(fake, raw, tmp_path):
    """At sixty times the speed of the clock, and at the end with that of this machine."""
    clock = FastClock(tmp_path, 60)
    agent = clock.agent(fake, MAX_IN_FLIGHT_PER_HOST=200, MAX_IN_FLIGHT=200)
    try:
        ids, gate, url = answers_that_wait(fake, agent, raw, 100, 100000)
        fake.go_away()
        gate.open.set()
        Journal(agent).wait_for_count("done", 100)
        assert not fake.stopping.wait(600 / clock.speed)
        assert len(troubles(agent)) <= 12, agent.log
        # What waits is not in memory: the disk changes one answer, and that is noticed.
        with sqlite3.connect(Journal(agent).database) as database:
            database.execute("UPDATE answers SET answer = replace(answer, 'xxxxx', 'xxyxx')"
                             " WHERE id = ?", [ids[0]])
        assert sum("command" not in line for line in agent.process.lines) <= 16, agent.log
        clock.slow_down(fake)
        assert not fake.stopping.wait(2)
        fake.come_back()
        back = time.monotonic()
        took = all_posted(fake, ids) - back
        print(f"all posted {took:.2f} s after the return; lines: {len(troubles(agent))}")
        assert took < 3, "2 s, and some for a busy machine"
        assert len(fake.updates) == 100
        bodies = {update["commandId"]: update["body"]["body"] for update in fake.updates}
        assert "ended as SUCCESS, but its answer cannot be read" in bodies.pop(ids[0])
        assert "its checksum is wrong" in agent.log
        assert set(bodies.values()) == {"x" * 100000}
        assert len(raw.requests(url)) == 100
        agent.process.wait_for(lambda line: "works again" in line)
        agent.stop()
    finally:
        agent.close()


def test_a_service_that_hangs_up_for_ten_minutes_is_called_rarely_at_each_endpoint(raw, tmp_path):
    """It takes connections, so it is not knocked at: the back-off alone counts."""
    clock = FastClock(tmp_path, 60)
    with contextlib.closing(FakeService()) as fake:
        agent = clock.agent(fake)
        try:
            ids, gate, url = answers_that_wait(fake, agent, raw, 5, 10)
            begun = time.monotonic()
            fake.is_down = True
            gate.open.set()
            assert not fake.stopping.wait(600 / clock.speed)
            found = counts(fake, begun)
            print(dict(found), len(troubles(agent)))
            assert set(found) >= {"poll", "post", "keep", "heartbeat"}
            assert all(number <= RARE[600] for number in found.values()), found
            assert len(troubles(agent)) <= 12, agent.log
            fake.is_down = False
            all_posted(fake, ids)
            assert len(raw.requests(url)) == 5
        finally:
            agent.close()


def first_visitor(listener):
    """What the first connection brings, until it ends or something comes."""
    listener.settimeout(PATIENCE)
    listener.listen(1)
    connection, _ = listener.accept()
    connection.settimeout(PATIENCE)
    with connection:
        return connection.recv(65536)


def test_a_source_that_refuses_is_knocked_at_without_a_byte(fake, tmp_path):
    """Polling may by chance come first; a knock comes every second, a poll twice a minute."""
    fake.go_away()
    agent = FastClock(tmp_path, 40).agent(fake)
    try:
        agent.process.wait_for(lambda line: "ECONNREFUSED" in line)
        visits = []
        while not visits or visits[-1] != b"":
            assert len(visits) < 8, visits
            assert not fake.stopping.wait(1)
            visits.append(first_visitor(fake.holder))
            fake.holder.close()
            fake.hold()
    finally:
        agent.close()


# -- trouble of every kind ------------------------------------------------------------

# How it answers; calls in three minutes: at least, at most.
FAULTS = {
    "401": (wrong(401), 3, 8), "403": (wrong(403), 3, 8),
    "429 with Retry-After": (wrong(429, {"Retry-After": "20"}), 4, 10),
    "500": (wrong(500), 5, 24), "503": (wrong(503), 5, 24),
    "a hanging answer": (hang, 1, 14), "half an answer": (half_an_answer, 5, 24),
    "no JSON": (not_json, 5, 24),
}
SIMULATED = 180
SPEED = 30


def run_with_fault(place, name, raw, folder):
    """One agent for three simulated minutes on a service with one fault; what was seen."""
    fault = FAULTS[name][0]
    folder.mkdir()
    with contextlib.closing(FakeService()) as fake:
        faults = fake.faults if place == "poll" else fake.status_faults
        faults[:] = [fault] * 100000
        url = raw.url(text("done"))
        command_id = fake.give({"method": "POST", "url": url})
        clock = FastClock(folder, SPEED)
        agent = clock.agent(fake)
        try:
            fake.wait_for(lambda: counts(fake)[place] >= 1)
            begun = time.monotonic()
            fake.stopping.wait(SIMULATED / SPEED)
            calls = [call.at - begun for call in fake.calls
                     if call.path.endswith(ENDPOINTS[place])]
            lines = len(troubles(agent))
            faults[:] = []
            end = fake.wait_end(command_id)
            agent.process.wait_for(lambda line: "works again" in line)
            return calls, lines, end, len(raw.requests(url)), agent.log
        finally:
            agent.process.kill()
            agent.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """All faults at both places at the same time: they wait, they do not work."""
    folder = tmp_path_factory.mktemp("faults")
    raw = RawTarget()
    with concurrent.futures.ThreadPoolExecutor(2 * len(FAULTS)) as pool:
        found = {(place, name): pool.submit(run_with_fault, place, name, raw,
                                            folder / f"{place}-{number}")
                 for number, name in enumerate(FAULTS) for place in ("poll", "post")}
    raw.close()
    return found


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("place", ["poll", "post"])
def test_a_lasting_fault_brings_few_calls_few_lines_and_no_loss(runs, place, name):
    calls, lines, end, requests, log = runs[(place, name)].result()
    _, least, most = FAULTS[name]
    print(f"{place} {name}: {len(calls)} calls, {lines} lines")
    assert least <= len(calls) <= most, calls
    assert 1 <= lines <= (1 if name in ("401", "403") else SIMULATED // 60 + 1), log
    assert end["status"] == "SUCCESS" and end["body"]["body"] == "done"
    assert requests == 1
    if name.startswith("429"):
        gaps = [(after - before) * SPEED for before, after in zip(calls, calls[1:])]
        assert min(gaps) >= 19, gaps

"""`docker stop`: how soon the agent is gone, and what becomes of what it leaves."""

import json
import signal
import time

import pytest

from support.agents import Agent
from support.journals import Journal
from support.raw_target import Gate, answer, text

pytestmark = pytest.mark.timing

DRAIN_SECONDS = 2


def seconds_to_stop(agent):
    begun = time.monotonic()
    agent.process.signal(signal.SIGTERM)
    assert agent.process.wait() == 0, agent.log
    return time.monotonic() - begun


def test_commands_of_60_seconds_stay_in_the_journal_and_end_in_the_next_life(site, raw):
    pair = site.start(DRAIN_SECONDS=DRAIN_SECONDS)
    gate = Gate(answer(body=b"late"))
    methods = ["GET", "POST", "PUT", "PATCH"] * 8
    urls = [raw.url(gate, text("second")) for _ in methods]
    records = [pair.requestor.submit({"method": method, "url": url, "timeout": 60000})
               for method, url in zip(methods, urls)]
    for url in urls:
        raw.wait_for(url)
    assert DRAIN_SECONDS <= seconds_to_stop(pair.agent) < DRAIN_SECONDS + 1
    journal = Journal(pair.agent)
    assert {row[0] for row in journal.listing().values()} == {"executing"}
    assert set(journal.listing()) == {record["id"] for record in records}

    following = Agent(pair.agent.settings).start()
    for method, url, record in zip(methods, urls, records):
        end = pair.requestor.wait(record["id"])
        if method in ("GET", "PUT"):
            assert end["status"] == "SUCCESS" and end["responseBody"]["body"] == "second"
            assert len(raw.requests(url)) == 2
        else:
            assert json.loads(end["responseBody"]["body"])["code"] == "INTERRUPTED"
            assert len(raw.requests(url)) == 1
    gate.open.set()
    following.stop()
    assert journal.listing() == {}


def test_an_agent_with_nothing_but_an_open_long_poll_is_gone_within_200_ms(site):
    """The best of five counts, and none is far from it: the machine may be busy."""
    pair = site.pair(POLL_WAIT_SECONDS=20)
    times = []
    for _ in range(5):
        agent = pair.agent.start()
        agent.process.wait_for(lambda line: "connected" in line)
        times.append(seconds_to_stop(agent))
    print("stopped in ms:", [round(each * 1000) for each in times])
    assert min(times) < 0.2 and max(times) < 1, times


def test_large_commands_that_have_come_are_kept_by_a_stop_and_made_once(site, raw):
    """A small one that came with them is made while they are still being read."""
    pair = site.pair()
    small, large = raw.url(text("small one")), raw.url(*[text("large one")] * 2)
    sent = [(large, "large " * 1000000), (small, "small"), (large, "large " * 1000000)]
    ids = [pair.requestor.submit({"method": "POST", "url": url,
                                  "body": {"mode": "raw", "raw": body}})["id"]
           for url, body in sent]
    pair.agent.start()
    raw.wait_for(small)
    pair.agent.stop()
    begun = time.monotonic()
    following = Agent(pair.agent.settings).start()
    for command_id in ids:
        end = pair.requestor.wait(command_id)
        assert end["status"] == "SUCCESS", end["responseBody"]
    assert time.monotonic() - begun < 20  # they were given once: a lease takes 30 s to end
    assert len(raw.requests(large)) == 2 and len(raw.requests(small)) == 1
    following.stop()

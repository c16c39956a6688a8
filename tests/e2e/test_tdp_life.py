"""TDP over time: how many calls, credentials that end, and which transport is chosen."""

import json
import time

import pytest

from conftest import one_pair
from support.raw_target import Slow, answer
from support.sqs_gate import error

pytest_plugins = ["tdp_plugin"]


def test_an_idle_agent_makes_one_long_poll_and_heartbeats_and_nothing_else(tdp):
    tdp.start()
    tdp.gate.wait_for(lambda: len(tdp.gate.calls) >= 1)  # the first, which does not wait
    time.sleep(26)
    assert tdp.gate.count() == {"ReceiveMessage": 2}
    (long_poll,) = tdp.gate.calls_of("ReceiveMessage")[1:]
    assert 19 < long_poll.ended - long_poll.at < 25
    kinds = sorted((call.method, call.path.rsplit("/", 1)[-1]) for call in tdp.platform.calls)
    assert kinds == [("POST", "config"), ("POST", "credentials"), ("POST", "status"),
                     ("PUT", "status")]


def run_all(tdp, raw, count, seconds, together):
    """So many commands, always so many of them under way; the calls for one of them while that
    was so."""
    url = raw.url(Slow(seconds, answer(body=b"ok")))
    marks = []
    for number in range(count):
        tdp.submit({"method": "GET", "url": url})
        tdp.inbox.wait_for(lambda: number + 1 - len(tdp.inbox.ended) < together)
        if number in (2 * together, count - 1):
            marks.append((len(tdp.inbox.ended), tdp.gate.count()))
    tdp.inbox.wait_for(lambda: len(tdp.inbox.ended) == count)
    assert set(tdp.inbox.ended.values()) == {1}
    (ended_before, before), (ended, after) = marks
    print(seconds, dict(after - before), ended - ended_before)
    return sum((after - before).values()) / (ended - ended_before)


@pytest.mark.timing
@pytest.mark.parametrize("ack, seconds", [("journal", 1), ("done", 0.1)])
def test_at_64_in_flight_half_a_call_is_enough_for_a_command(tdp, raw, ack, seconds):
    """A queue that is never empty, and an agent with 64 places."""
    count = 600 if seconds < 1 else 300
    url = raw.url(Slow(seconds, answer(body=b"ok")))
    ids = [tdp.submit({"method": "GET", "url": url}) for _ in range(count)]
    tdp.start(MAX_IN_FLIGHT=64, SQS_ACK=ack)
    for command_id in ids:
        assert tdp.wait_end(command_id)["status"] == "SUCCESS"
    tdp.wait_empty()
    calls = tdp.gate.count()
    print(ack, seconds, dict(calls), sum(calls.values()) / count)
    assert sum(calls.values()) / count <= 0.5, calls


@pytest.mark.timing
@pytest.mark.parametrize("seconds", [0.3])
def test_half_a_call_is_enough_with_64_requestors_that_wait_for_their_answers(tdp, raw, seconds):
    tdp.start()
    assert run_all(tdp, raw, 800 if seconds < 1 else 500, seconds, 64) <= 0.5
    tdp.wait_empty()


def test_credentials_that_live_three_seconds_lose_none_of_200_commands(tdp, raw):
    tdp.platform.life_seconds = 3
    agent = tdp.start(MAX_IN_FLIGHT=16)
    url = raw.url(Slow(0.5, answer(body=b"ok")))
    began = time.monotonic()
    ids = [tdp.submit({"method": "POST", "url": url}) for _ in range(200)]
    for command_id in ids:
        assert tdp.wait_end(command_id)["status"] == "SUCCESS"
    lives = (time.monotonic() - began) / 1.5
    assert len(raw.requests(url)) == 200
    asked = len(tdp.platform.calls_to("credentials"))
    assert lives > 3 and asked <= lives + 2, (asked, lives)
    assert not [line for line in agent.process.lines if '"warn"' in line or '"error"' in line]


def levels(agent):
    """The lines that are not about a single command."""
    return [(event["level"], event["message"])
            for event in map(json.loads, agent.process.lines) if event["message"] != "command"]


def test_a_refused_key_is_renewed_once_for_all_calls(tdp, raw):
    tdp.start()
    tdp.send({"method": "GET", "url": raw.url()})
    asked = len(tdp.platform.calls_to("credentials"))
    # Whatever is signed with the keys of now is refused.
    tdp.platform.lent.clear()
    ids = [tdp.submit({"method": "GET", "url": raw.url()}) for _ in range(20)]
    for command_id in ids:
        assert tdp.wait_end(command_id)["status"] == "SUCCESS"
    assert len(tdp.platform.calls_to("credentials")) == asked + 1


@pytest.mark.parametrize("status, code", [(400, "ExpiredTokenException"), (403, "InvalidClientTokenId"),
                                          (403, "AccessDenied")])
def test_a_refusal_is_answered_by_one_renewal_and_one_repetition(tdp, raw, status, code):
    agent = tdp.start()
    tdp.send({"method": "GET", "url": raw.url()})
    asked = len(tdp.platform.calls_to("credentials"))
    tdp.gate.faults = {"SendMessageBatch": [error(status, code)]}
    assert tdp.send({"method": "GET", "url": raw.url()})["status"] == "SUCCESS"
    assert len(tdp.platform.calls_to("credentials")) == asked + 1
    assert not [line for line in levels(agent) if line[0] != "info"]


@pytest.mark.timing
def test_a_revoked_token_is_told_once_and_once_when_it_is_over(tdp, raw):
    tdp.platform.life_seconds = 3
    agent = tdp.start()
    tdp.send({"method": "GET", "url": raw.url()})
    tdp.platform.accepts_token = False
    agent.process.wait_for(lambda line: '"warn"' in line)
    asked = len(tdp.platform.calls_to("credentials"))
    command_id = tdp.submit({"method": "GET", "url": raw.url()})
    time.sleep(10)
    assert len(tdp.platform.calls_to("credentials")) <= asked + 1
    tdp.platform.accepts_token = True
    tdp.platform.life_seconds = 3600
    assert tdp.wait_end(command_id)["status"] == "SUCCESS"
    agent.process.wait_for(lambda line: "again" in line)
    trouble = [line for line in levels(agent) if line[0] != "info"]
    assert len(trouble) == 1 and "401" in trouble[0][1], trouble
    assert len([line for line in levels(agent) if "again" in line[1]]) == 1


# -- which transport ----------------------------------------------------------------------

def test_a_queue_that_is_not_enabled_is_said_and_asked_for_again(tdp, raw):
    queues, tdp.platform.queues = tdp.platform.queues, {
        **tdp.platform.queues, "rpcSourceQueueUrl": None}
    agent = tdp.start()
    agent.process.wait_for(
        lambda line: "the agent's command queue is not enabled in TDP" in line)
    tdp.platform.queues = queues
    assert tdp.send({"method": "GET", "url": raw.url()})["status"] == "SUCCESS"
    assert len([line for line in levels(agent) if line[0] == "warn"]) == 1


@pytest.mark.parametrize("transport", ["auto", "http"])
def test_the_command_service_is_found_and_polled_over_http(session_service, defaults, raw, transport):
    with one_pair(session_service, {**defaults, "TRANSPORT": transport}) as pair:
        record = pair.requestor.send({"method": "GET", "url": raw.url()})
        assert record["status"] == "SUCCESS"
        assert "queues" not in pair.agent.log


def test_tdp_can_be_forced(tdp, raw):
    agent = tdp.start(TRANSPORT="tdp")
    assert tdp.send({"method": "GET", "url": raw.url()})["status"] == "SUCCESS"
    assert "through its queues" in agent.log
    assert len(tdp.platform.calls_to("config")) == 1


def test_a_service_that_does_not_know_the_call_is_a_plain_one(tdp):
    tdp.platform.faults = {"config": [(404, {"statusCode": 404, "error": "Not Found",
                                            "message": "no such path"})]}
    tdp.start()
    tdp.platform.wait_for(lambda: [call for call in tdp.platform.calls
                                   if call.path.endswith("/commands/receive")])


def test_an_agent_that_tdp_does_not_know_is_no_plain_service(tdp):
    agent = tdp.start(AGENT_ID="unknown-1")
    agent.process.wait_for(lambda line: "Source with source ID unknown-1 does not exist" in line)
    assert not [call for call in tdp.platform.calls if call.path.endswith("/commands/receive")]


@pytest.mark.parametrize("fault", [(500, {"message": "down"}), (401, {"message": "who?"}), (200, [])])
def test_trouble_while_asking_is_no_answer(tdp, raw, fault):
    tdp.platform.faults = {"config": [fault]}
    agent = tdp.start()
    agent.process.wait_for(lambda line: "polling for commands" in line)
    if fault[0] != 401:
        assert tdp.send({"method": "GET", "url": raw.url()})["status"] == "SUCCESS"


def test_what_the_journal_has_goes_on_before_the_service_is_found(tdp, raw):
    agent = tdp.agent()
    agent.start()
    url = raw.url(Slow(3, answer(body=b"ok")))
    command_id = tdp.submit({"method": "GET", "url": url})
    raw.wait_for(url)
    agent.kill()
    tdp.platform.faults = {"config": [(500, {})] * 3}
    agent.start()
    raw.wait_for(url, 2)
    assert not tdp.ends(command_id)
    assert tdp.wait_end(command_id)["status"] == "SUCCESS"
    tdp.wait_empty()

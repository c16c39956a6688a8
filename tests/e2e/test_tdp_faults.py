"""The queues misbehave: every command ends in one status all the same, and nobody is hammered."""

import json
import time

import pytest

from support.raw_target import Hang, Slow, answer
from support.sqs_gate import error, half_answer, html, partial, reset, slow
from support.tdp_site import TdpSite

pytest_plugins = ["tdp_plugin"]

FAULTS = {
    "403": error(403, "AccessDenied"),
    "500": error(500, "InternalError"),
    "502": html(502),
    "OverLimit": error(400, "OverLimit"),
    "throttling": error(400, "ThrottlingException"),
    "expired": error(400, "ExpiredTokenException"),
    "slow": slow(1.5),
    "half": half_answer,
    "reset": reset,
}


def ends_agree(tdp, command_id):
    """The queue may get one status twice when it did not say that it had it: always the same."""
    tdp.inbox.wait_for(lambda: tdp.ends(command_id))
    ends = tdp.ends(command_id)
    assert all(end == ends[0] for end in ends), ends
    return ends[0]


@pytest.mark.parametrize("fault", FAULTS)
def test_commands_end_whatever_the_queues_say_for_once(tdp_site, raw, fault):
    tdp = tdp_site(VisibilityTimeout=2)
    tdp.start()
    tdp.gate.faults = {operation: [FAULTS[fault]] for operation in (
        "ReceiveMessage", "SendMessageBatch", "DeleteMessageBatch")}
    url = raw.url()
    ids = [tdp.submit({"method": "GET", "url": url}) for _ in range(12)]
    for command_id in ids:
        assert ends_agree(tdp, command_id)["status"] == "SUCCESS"
    tdp.wait_empty()
    assert not any(tdp.gate.faults.values())


@pytest.mark.timing
@pytest.mark.parametrize("fault", ["throttling", "half"])
def test_a_lasting_fault_brings_few_calls_and_few_lines(tdp_site, raw, fault):
    tdp = tdp_site(VisibilityTimeout=600)
    agent = tdp.start()
    url = raw.url(Slow(1, answer(body=b"ok")))
    ids = [tdp.submit({"method": "GET", "url": url}) for _ in range(30)]
    raw.wait_for(url, 30)
    tdp.gate.trouble = lambda operation: FAULTS[fault]
    began = tdp.gate.count()
    time.sleep(8)
    calls = tdp.gate.count() - began
    assert all(count <= 16 for count in calls.values()), calls
    tdp.gate.trouble = None
    for command_id in ids:
        assert ends_agree(tdp, command_id)["status"] == "SUCCESS"
    lines = [json.loads(line) for line in agent.process.lines]
    assert len([line for line in lines if line["level"] in ("warn", "error")]) <= 4, agent.log


def test_an_empty_answer_that_does_not_wait_is_no_busy_loop(tdp):
    tdp.start()
    def empty(gate, handler, forward):
        handler.reply(200, {})
        return 200
    tdp.gate.trouble = lambda operation: empty
    tdp.gate.wait_for(lambda: len(tdp.gate.calls) >= 2)
    time.sleep(5)
    assert len(tdp.gate.calls) <= 9


@pytest.mark.parametrize("code", ["InternalError", "RequestThrottled"])
@pytest.mark.parametrize("operation", ["SendMessageBatch", "DeleteMessageBatch"])
def test_an_entry_that_fails_is_repeated_alone(tdp, raw, operation, code):
    tdp.start()
    tdp.gate.faults = {operation: [partial(code, 1)] * 2}
    url = raw.url()
    ids = [tdp.submit({"method": "POST", "url": url}) for _ in range(10)]
    for command_id in ids:
        assert tdp.wait_end(command_id)["status"] == "SUCCESS"
    tdp.wait_empty()
    assert len(raw.requests(url)) == 10


def test_a_status_that_the_queue_will_never_take_holds_up_no_other(tdp, raw):
    agent = tdp.start()
    first = tdp.submit({"method": "GET", "url": raw.url()})
    tdp.wait_end(first)
    tdp.gate.faults = {"SendMessageBatch": [slow(0), partial("InvalidParameterValue", 1)]}
    lost = tdp.submit({"method": "GET", "url": raw.url(Slow(0.5, answer(body=b"ok")))})
    agent.process.wait_for(lambda line: lost in line and "does not want" in line)
    assert tdp.send({"method": "GET", "url": raw.url()})["status"] == "SUCCESS"


def test_receipts_that_the_queue_does_not_know_are_not_repeated(tdp, raw):
    tdp.start()
    tdp.gate.faults = {"DeleteMessageBatch": [partial("ReceiptHandleIsInvalid", 1)]}
    assert tdp.send({"method": "GET", "url": raw.url()})["status"] == "SUCCESS"
    tdp.send({"method": "GET", "url": raw.url()})
    assert tdp.gate.count()["DeleteMessageBatch"] <= 2


def test_a_queue_that_is_gone_is_asked_for_anew(tdp, raw):
    tdp.start()
    assert tdp.send({"method": "GET", "url": raw.url()})["status"] == "SUCCESS"
    for url in (tdp.source_url, tdp.platform_url):
        tdp.queues.call("DeleteQueue", QueueUrl=url)
    tdp.names = [f"moved-{name}" for name in tdp.names]
    tdp.create_queues()
    tdp.inbox.url = tdp.platform_url
    assert tdp.send({"method": "GET", "url": raw.url()})["status"] == "SUCCESS"
    assert len(tdp.platform.calls_to("config")) >= 2


@pytest.mark.parametrize("ack", ["journal", "done"])
def test_the_emulator_is_killed_and_started_again(own_emulator, raw, ack):
    """What it held is lost with it: who sent it sends it again, and nothing is done twice."""
    tdp = TdpSite(own_emulator, VisibilityTimeout=600)
    try:
        tdp.start(SQS_ACK=ack)
        url = raw.url(Slow(0.5, answer(body=b"ok")))
        commands = [tdp.command({"method": "POST", "url": url}) for _ in range(40)]
        for command in commands:
            tdp.put(command)
        raw.wait_for(url, 10)
        own_emulator.kill()
        time.sleep(2)
        own_emulator.start()
        tdp.create_queues()
        for command in commands:
            if not tdp.ends(command["commandId"]):
                tdp.put(command)
        for command in commands:
            assert ends_agree(tdp, command["commandId"])["status"] == "SUCCESS"
        assert len(raw.requests(url)) == 40
        tdp.wait_empty()
    finally:
        tdp.close()


@pytest.mark.timing
def test_with_done_a_message_stays_and_its_visibility_is_extended(tdp, raw):
    tdp.start(SQS_ACK="done")
    url = raw.url(Slow(12, answer(body=b"ok")))
    command_id = tdp.submit({"method": "POST", "url": url, "timeout": 60000})
    raw.wait_for(url)
    assert tdp.queues.counts(tdp.source_url) == (0, 1)
    tdp.gate.wait_for(lambda: any(call.operation == "ChangeMessageVisibilityBatch"
                                  for call in tdp.gate.calls))
    assert not tdp.gate.calls_of("DeleteMessageBatch")
    assert tdp.wait_end(command_id)["status"] == "SUCCESS"
    tdp.wait_empty()
    raw.only(url)


@pytest.mark.timing
def test_with_done_more_than_a_thousand_messages_are_extended_again_and_again(tdp_site, raw):
    tdp = tdp_site(VisibilityTimeout=600)
    url = raw.url(Hang())
    for _ in range(1100):
        tdp.submit({"method": "GET", "url": url, "timeout": 600000})
    tdp.start(SQS_ACK="done", MAX_IN_FLIGHT_PER_HOST=1)
    raw.wait_for(url)
    while tdp.queues.counts(tdp.source_url) != (0, 1100):
        assert not tdp.gate.stopping.wait(0.2)
    seen = tdp.gate.count()["ChangeMessageVisibilityBatch"]
    # Each time ten of them with a call: more than are still to come of the first time.
    tdp.gate.wait_for(lambda: tdp.gate.count()["ChangeMessageVisibilityBatch"] > seen + 130)


def test_with_done_a_message_whose_agent_died_comes_again_and_is_not_repeated(tdp, raw):
    tdp.gate.lease_seconds = 2
    agent = tdp.start(SQS_ACK="done")
    url = raw.url(Slow(0.5, answer(body=b"ok")))
    command_id = tdp.submit({"method": "POST", "url": url})
    raw.wait_for(url)
    agent.kill()
    agent.state.cleanup()  # another machine: its journal knows nothing
    tdp.start(SQS_ACK="done")
    end = tdp.wait_end(command_id)
    assert json.loads(end["body"]["body"])["code"] == "INTERRUPTED"
    raw.only(url)
    tdp.wait_empty()


def test_a_delete_that_was_lost_with_the_agent_is_made_up_for(tdp, raw):
    """A FIFO group would wait for the message's visibility time-out."""
    agent = tdp.start()
    tdp.gate.trouble = lambda operation: error(500, "InternalError") if "Delete" in operation else None
    url = raw.url(Slow(30, answer(body=b"ok")))
    tdp.submit({"method": "GET", "url": url})
    raw.wait_for(url)
    tdp.gate.wait_for(lambda: "DeleteMessageBatch" in {call.operation for call in tdp.gate.calls})
    agent.kill()
    assert tdp.queues.counts(tdp.source_url) == (0, 1)
    tdp.gate.trouble = None
    agent.start()
    tdp.wait_empty()
    receipts = {call.body["Entries"][0]["ReceiptHandle"]
                for call in tdp.gate.calls_of("DeleteMessageBatch")}
    assert len(receipts) == 1

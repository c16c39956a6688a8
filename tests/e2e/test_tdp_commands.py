"""Commands by way of TDP's queues: from the message to the status messages."""

import gzip
import json

import pytest

from support.raw_target import text
from support.requestors import LEGACY, V2, timestamp
from support.sqs_gate import error
from support.tdp_site import KEY
from support.v2 import WithCryptography

pytest_plugins = ["tdp_plugin"]

ORDER = ["commandId", "targetId", "status", "body", "responseBodyDelivery", "createdAt"]


def statuses(tdp, command_id):
    return [message["status"] for message in tdp.inbox.of(command_id)]


def test_a_command_is_received_answered_and_deleted(tdp, raw):
    agent = tdp.start()
    url = raw.url(text("größer 日本", headers=["X-A: b"]))
    command_id = tdp.submit({"method": "POST", "url": url, "body": {"mode": "raw", "raw": "in"}})
    end = tdp.wait_end(command_id)
    assert list(end) == ORDER
    assert end["status"] == "SUCCESS" and end["responseBodyDelivery"] == "embedded"
    assert end["targetId"] == tdp.platform.agent_id
    assert end["body"]["body"] == "größer 日本" and end["body"]["statusCode"] == 200
    processing, _ = tdp.inbox.of(command_id)
    assert list(processing) == [name for name in ORDER if name != "body"]
    assert processing["status"] == "PROCESSING"
    for message in (processing, end):
        assert len(message["createdAt"]) == 24 and message["createdAt"].endswith("Z")
    assert raw.only(url).body == b"in"
    tdp.wait_empty()
    assert agent.event_of(command_id)["status"] == "SUCCESS"


def test_the_platform_hears_of_start_life_and_stop(tdp):
    agent = tdp.start()
    (started,) = tdp.platform.wait_for(lambda: tdp.platform.calls_to("status", "PUT"))
    about = {"agentId": tdp.platform.agent_id, "agentVersion": "v1.0.0"}
    kind = {"agent": "TetraScience.Agent.user-defined"}
    assert started.body == {**about, **kind, "statusSetting": "STARTED"}
    tdp.platform.wait_for(lambda: tdp.platform.calls_to("status", "POST"))
    assert tdp.platform.calls_to("status", "POST")[0].body == {**about, **kind}
    tdp.platform.wait_for(lambda: tdp.platform.calls_to("credentials"))
    assert tdp.platform.calls_to("config")[0].body == about
    assert tdp.platform.calls_to("credentials")[0].body == about
    agent.stop()
    stopped = tdp.platform.calls_to("status", "PUT")[-1]
    assert stopped.body["statusSetting"] == "STOPPED"
    ids = [call.headers["ts-request-id"] for call in tdp.platform.calls]
    assert len(set(ids)) == len(ids)


def test_a_receive_says_what_it_wants(tdp):
    tdp.start()
    tdp.gate.wait_for(lambda: [call for call in tdp.gate.calls if call.operation == "ReceiveMessage"])
    tdp.send({"method": "GET", "url": "http://127.0.0.1:1/"})
    body = tdp.gate.calls_of("ReceiveMessage")[-1].body
    assert body == {"QueueUrl": tdp.platform.queues["rpcSourceQueueUrl"], "MaxNumberOfMessages": 10,
                    "WaitTimeSeconds": 20, "AttributeNames": ["ApproximateReceiveCount"]}


def test_an_answer_that_the_queue_takes_for_invalid_goes_escaped(tdp, raw):
    """SQS refuses U+FFFF; this emulator everything beyond the basic plane too."""
    tdp.start()
    end = tdp.send({"method": "GET", "url": raw.url(text("a 🎉 \uffff b"))})
    assert end["body"]["body"] == "a 🎉 \uffff b"


def test_a_referenced_payload_is_fetched(tdp, raw):
    tdp.start()
    url = raw.url(text("fetched"))
    stored = tdp.queues.put_object("in-1", json.dumps({"method": "GET", "url": url}).encode())
    end = tdp.send(bodyDelivery="referenced", bodyUrl=stored, without=["body"])
    assert end["status"] == "SUCCESS" and end["body"]["body"] == "fetched"


def embedded_size(tdp, command_id):
    return len(tdp.bytes_of(command_id, "SUCCESS"))


@pytest.mark.parametrize("letter", ["x", "ü"])
def test_262144_bytes_are_embedded_and_one_more_is_uploaded(tdp, raw, letter):
    tdp.start()
    first = tdp.submit({"method": "GET", "url": raw.url(text(""))})
    tdp.wait_end(first)
    # The lengths of numbers in the headers grow with the body: found by trying.
    def send(size):
        body = "x" * (size % len(letter.encode())) + letter * (size // len(letter.encode()))
        command_id = tdp.submit(
            {"method": "GET", "url": raw.url(text(body))},
            responseBodyUploadUrl=tdp.queues.object_url(f"out-{ord(letter)}-{size}", tdp.gate.host))
        return body, command_id, tdp.wait_end(command_id)

    size = 262144 - embedded_size(tdp, first) - len("262144") + 1
    body, command_id, end = send(size)
    size += 262144 - embedded_size(tdp, command_id)
    body, command_id, end = send(size)
    assert embedded_size(tdp, command_id) == 262144
    assert end["responseBodyDelivery"] == "embedded" and end["body"]["body"] == body

    body, command_id, end = send(size + 1)
    assert end["status"] == "SUCCESS" and end["responseBodyDelivery"] == "referenced"
    assert list(end) == [name for name in ORDER if name != "body"]
    (method, path, headers, content) = tdp.gate.objects[-1]
    assert method == "PUT" and path.endswith("?X-Amz-Signature=fake%2Bsigned")
    assert headers["Content-Encoding"] == "gzip" and headers["Content-Type"] == "application/json"
    assert not {"authorization", "ts-auth-token", "x-amz-security-token"} & {
        name.lower() for name in headers}
    answer = json.loads(gzip.decompress(content))
    assert answer["body"] == body and answer["statusCode"] == 200
    assert tdp.queues.object(f"out-{ord(letter)}-{size + 1}")[1] == content


def test_an_upload_that_fails_is_repeated(tdp, raw):
    tdp.start()
    tdp.gate.object_faults = [500, 403]
    end = tdp.send({"method": "GET", "url": raw.url(text("x" * 300000))},
                   responseBodyUploadUrl=tdp.queues.object_url("again", tdp.gate.host))
    assert end["responseBodyDelivery"] == "referenced"
    assert [method for method, *_ in tdp.gate.objects] == ["PUT"] * 3


def test_a_large_answer_without_an_upload_url_fails_and_names_the_status(tdp, raw):
    tdp.start()
    url = raw.url(text("x" * 300000, "201 Created"))
    end = tdp.send({"method": "GET", "url": url})
    reason = json.loads(end["body"]["body"])
    assert end["status"] == "FAILURE" and reason["code"] == "RESPONSE_TOO_LARGE"
    assert "201" in reason["message"]
    raw.only(url)


def test_a_large_answer_names_the_status_also_after_a_restart(tdp, raw):
    agent = tdp.start()
    tdp.gate.trouble = lambda operation: error(500, "InternalError") if "Send" in operation else None
    url = raw.url(text("x" * 300000, "201 Created"))
    command_id = tdp.submit({"method": "GET", "url": url})
    tdp.gate.wait_for(lambda: any("RESPONSE_TOO_LARGE" in str(call.body) for call in tdp.gate.calls))
    agent.kill()  # with the answer in the journal
    tdp.gate.trouble = None
    agent.start()
    reason = json.loads(tdp.wait_end(command_id)["body"]["body"])
    assert reason["code"] == "RESPONSE_TOO_LARGE" and "201" in reason["message"]
    raw.only(url)


def test_an_encrypted_command_is_answered_sealed(tdp, raw):
    tdp.start()
    payload = WithCryptography.encrypt(KEY, {"method": "GET", "url": raw.url(text("sealed"))})
    end = tdp.send(payload, action=V2)
    assert end["status"] == "SUCCESS"
    assert WithCryptography.decrypt(KEY, end["body"])["body"] == "sealed"


@pytest.mark.parametrize("fields, code", [
    ({"expiresAt": timestamp(-60)}, "EXPIRED"),
    ({"action": "TetraScience.Connector.other"}, "UNKNOWN_ACTION"),
    ({"targetId": "7c09c171-7057-445b-92f2-8a56b3bae9f7"}, "WRONG_TARGET"),
    ({"expiresAt": "soon"}, "INVALID_COMMAND"),
])
def test_what_is_not_to_be_done_is_rejected_and_deleted(tdp, fields, code):
    tdp.start()
    command_id = tdp.submit({"method": "GET", "url": "http://127.0.0.1:1/"}, **fields)
    end = tdp.wait_end(command_id)
    assert end["status"] == "REJECTED" and end["body"]["code"] == code
    assert end["targetId"] == fields.get("targetId", tdp.platform.agent_id)
    assert statuses(tdp, command_id) == ["REJECTED"]
    tdp.wait_empty()


@pytest.mark.parametrize("message, shown", [
    ("not json, token=s3cr3tA and Bearer hunter", "not json, token=*** *** *** ***"),
    ('{"headers": {"Authorization": "Bearer hunter"}, "secret":"swordfish"}',
     "an object with headers, secret"),
    ('{"commandId": "", "password": "swordfish"}', "an object with commandId, password"),
    ('["swordfish123"]', '["***"]'),
])
def test_what_is_no_command_is_logged_counted_and_deleted(tdp, raw, message, shown):
    agent = tdp.start()
    message_id = tdp.put(message, group="one")
    following = tdp.submit({"method": "GET", "url": raw.url()}, group="one")
    assert tdp.wait_end(following)["status"] == "SUCCESS"
    line = json.loads(agent.process.wait_for(lambda line: message_id in line))
    assert shown in line["message"] and "1 since the start" in line["message"]
    for secret in ("s3cr3tA", "hunter", "swordfish"):
        assert secret not in agent.log
    tdp.wait_empty()


def test_a_group_is_not_blocked_by_a_command_that_takes_long(tdp, raw, silent_port):
    tdp.start()
    slow = tdp.submit({"method": "GET", "url": f"http://127.0.0.1:{silent_port}/", "timeout": 600000},
                      group="one")
    ids = [tdp.submit({"method": "GET", "url": raw.url()}, group="one") for _ in range(5)]
    for command_id in ids:
        assert tdp.wait_end(command_id)["status"] == "SUCCESS"
    assert statuses(tdp, slow) == ["PROCESSING"]


def test_a_legacy_command_as_the_vendors_example_has_it(tdp, raw):
    tdp.start()
    url = raw.url(text("made", "201 Created"))
    end = tdp.send({"url": url, "method": "POST", "headers": [{"Content-Type": "application/json"}],
                    "body": {"mode": "raw", "raw": "{\"title\":\"foo\"}"},
                    "ignore_tls_certificate": True}, action=LEGACY)
    assert end["body"]["statusCode"] == 201
    assert raw.only(url).body == b'{"title":"foo"}'


def test_a_command_delivered_twice_is_executed_once_and_answered_twice(tdp, raw):
    tdp.start()
    url = raw.url()
    command = tdp.command({"method": "POST", "url": url})
    tdp.put(command)
    first = tdp.wait_end(command["commandId"])
    tdp.send({"method": "GET", "url": raw.url()})  # by then the agent has heard of the first's end
    tdp.put(command)
    tdp.inbox.wait_for(lambda: len(tdp.ends(command["commandId"])) == 2)
    assert tdp.ends(command["commandId"]) == [first, first]
    raw.only(url)
    tdp.wait_empty()

"""What requestors see: the public Command API, field by field."""

import datetime
import re
import threading
import time

import pytest

from service_client import iso
from service_fixtures import Site

pytest_plugins = ["service_plugin"]

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

RECORD = ["id", "orgSlug", "targetId", "action", "expiresAt", "metadata", "status", "requestBody",
          "responseBody", "requestPayloadDelivery", "createdByEntity", "createdBy", "createdAt",
          "updatedAt"]
REQUEST_BODY = ["body", "action", "targetId", "commandId", "createdAt", "expiresAt"]


def test_a_new_command_is_answered_with_its_record(service_site):
    payload = {"method": "GET", "url": "http://x/", "headers": [{"a": 1.50}, None, True]}
    expires = iso(3600)
    reply = service_site.requestor.post("/v1/commands", json={
        "targetId": "agent-1", "action": "an.Action", "expiresAt": expires, "payload": payload,
        "metadata": {"vendor": "tetra", "run": "7"}})
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    record = reply.json()
    assert list(record) == RECORD
    assert list(record["requestBody"]) == REQUEST_BODY
    assert UUID.fullmatch(record["id"]) and UUID.fullmatch(record["createdBy"])
    assert TIME.fullmatch(record["createdAt"])
    assert record == {
        "id": record["id"], "orgSlug": service_site.org, "targetId": "agent-1", "action": "an.Action",
        "expiresAt": expires, "metadata": {"vendor": "tetra", "run": "7"}, "status": "PENDING",
        "requestBody": {"body": payload, "action": "an.Action", "targetId": "agent-1",
                        "commandId": record["id"], "createdAt": record["createdAt"],
                        "expiresAt": expires},
        "responseBody": None, "requestPayloadDelivery": "embedded", "createdByEntity": "user",
        "createdBy": record["createdBy"], "createdAt": record["createdAt"],
        "updatedAt": record["createdAt"]}
    assert service_site.requestor.record(record["id"]) == record


def test_the_pipeline_sdk_finds_the_same_under_internal(service_site):
    reply = service_site.requestor.post("/internal", json={
        "targetId": "agent-1", "action": "a", "expiresAt": iso(), "payload": {}})
    assert reply.status == 200
    record = reply.json()
    assert list(record) == RECORD
    assert service_site.requestor.get(f"/internal/{record['id']}").json() == record
    assert service_site.requestor.record(record["id"]) == record


@pytest.mark.parametrize("payload", [
    '{"b": 1, "a" : 1.50e2, "b":2}', "null", "0", '"\\u0000\\ud83d\\ude00 / \\/"', "[ ]", "true",
    pytest.param('{"x": "' + "y" * 200000 + '"}', id="large")])
def test_a_payload_of_any_kind_arrives_byte_for_byte(service_site, payload):
    body = ('{"targetId":"agent-1","action":"a","expiresAt":"%s","payload":%s}'
            % (iso(), payload)).encode()
    reply = service_site.requestor.post("/v1/commands", body=body)
    assert reply.status == 200, reply
    assert f'"requestBody":{{"body":{payload},"action"' in reply.text
    delivered = service_site.agent.call("receive", {})
    assert f'"bodyDelivery":"embedded","body":{payload},' in delivered.text


def test_dates_are_read_as_clients_write_them(service_site):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=2)
    moment = moment.replace(microsecond=123456)
    for text in (moment.strftime("%Y-%m-%dT%H:%M:%S.%f+00:00"),
                 moment.strftime("%Y-%m-%d %H:%M:%S.123Z"),
                 (moment + datetime.timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S.%f+0200")):
        record = service_site.requestor.send(expiresAt=text)
        assert record["expiresAt"] == moment.strftime("%Y-%m-%dT%H:%M:%S.123Z")


def post(site, headers=None, **changes):
    command = {"targetId": "agent-1", "action": "a", "expiresAt": iso(), "payload": {}}
    command.update(changes)
    command = {key: value for key, value in command.items() if value is not ...}
    return site.requestor.post("/v1/commands", json=command, headers=headers)


@pytest.mark.parametrize("changes, expected", [
    ({"targetId": ...}, "targetId is missing"),
    ({"targetId": 7}, "targetId must be a string, not a number"),
    ({"targetId": ""}, "targetId must not be empty"),
    ({"targetId": "x" * 201}, "targetId is longer than 200 bytes"),
    ({"targetId": "a\0b"}, "targetId must not hold a NUL character"),
    ({"action": ...}, "action is missing"),
    ({"action": ["a"]}, "action must be a string, not an array"),
    ({"expiresAt": ...}, "expiresAt is missing"),
    ({"expiresAt": 17}, "expiresAt must be a string, not a number"),
    ({"expiresAt": "soon"}, "expiresAt: "),
    ({"expiresAt": "2026-02-30T00:00:00Z"}, "expiresAt: "),
    ({"payload": ...}, "payload is missing"),
    ({"metadata": []}, "metadata must be an object of strings, of at most 65536 bytes, not an array"),
    ({"metadata": {"a": "x" * 65536}}, "metadata must have at most 65536 bytes, as JSON, not 65545"),
    ({"metadata": {"a": {}}}, "metadata.a must be a string, not an object"),
    ({"metadata": {"a": None}}, "metadata.a must be a string, not null"),
    ({"metadata": {str(n): "x" for n in range(101)}}, "metadata has more than 100 members"),
    ({"payloadDelivery": "by hand"}, 'payloadDelivery must be "embedded" or "referenced"'),
    ({"payloadDelivery": 1}, 'payloadDelivery must be "embedded" or "referenced"'),
])
def test_each_wrong_field_is_refused_with_what_is_wrong(service_site, changes, expected):
    reply = post(service_site, **changes)
    assert reply.status == 400
    assert reply.json()["error"] == "Bad Request"
    assert reply.message.startswith(expected)
    assert service_site.requestor.search()["hits"] == []


def test_all_problems_of_a_command_are_named_at_once(service_site):
    reply = service_site.requestor.post("/v1/commands", json={"action": 1, "payloadDelivery": "x"})
    assert reply.message == (
        "targetId is missing; action must be a string, not a number; expiresAt is missing; "
        'payload is missing; payloadDelivery must be "embedded" or "referenced"')


def test_a_command_must_live_a_minute(service_site):
    reply = post(service_site, expiresAt=iso(55))
    assert reply.status == 400
    assert reply.message.startswith("expiresAt must be at least 60 seconds ahead (it is 2")
    assert post(service_site, expiresAt=iso(65)).status == 200


def test_the_least_life_can_be_set(service_factory):
    site = Site(service_factory("--min-ttl-seconds", "1").start())
    assert post(site, expiresAt=iso(2)).status == 200
    assert "at least 1 seconds" in post(site, expiresAt=iso(0.5)).message


def test_what_is_no_json_is_refused_with_the_place(service_site):
    for body, place in ((b'{"a":\n 1,}', "line 2, column"), (b"", "missing"), (b"[]", "an array"),
                        (b'{"a":"\xff"}', "line 1, column"), (b"{} x", "line 1, column")):
        reply = service_site.requestor.post("/v1/commands", body=body)
        assert reply.status == 400
        assert place in reply.message, reply


def test_a_payload_that_is_too_deep_is_refused(service_site):
    deep = b'{"targetId":"agent-1","action":"a","expiresAt":"%s","payload":%s}'
    for levels, status in ((60, 200), (61, 400), (63, 400), (100, 400), (200000, 400)):
        body = deep % (iso().encode(), b"[" * levels + b"]" * levels)
        reply = service_site.requestor.post("/v1/commands", body=body)
        assert reply.status == status, (levels, reply)
    # What was taken can be delivered and read again.
    assert len(service_site.agent.receive()) == 1
    assert len(service_site.requestor.search()["hits"]) == 1


def test_ten_megabytes_are_taken_and_not_one_byte_more(service_site):
    limit = 10 * 1024 * 1024
    head = ('{"targetId":"agent-1","action":"a","expiresAt":"%s","payload":"' % iso()).encode()
    body = head + b"x" * (limit - len(head) - 2) + b'"}'
    assert len(body) == limit
    assert service_site.requestor.post("/v1/commands", body=body).status == 200
    reply = service_site.requestor.post("/v1/commands", body=body + b" ")
    assert reply.status == 413
    assert reply.message == "a command must not be larger than 10485760 bytes"
    # In chunks, where the size is not known before.
    chunks = (body[at:at + 65536] for at in range(0, len(body), 65536))
    reply = service_site.new_requestor().post("/v1/commands", body=chunks)
    assert reply.status == 200
    chunks = ((body + b" ")[at:at + 65536] for at in range(0, len(body) + 1, 65536))
    reply = service_site.new_requestor().post("/v1/commands", body=chunks)
    assert reply.status == 413
    assert len(service_site.requestor.search(size=1)["hits"]) == 1


# -- Idempotency-Key ------------------------------------------------------------------


def test_an_idempotency_key_returns_the_first_record(service_site):
    requestor = service_site.requestor
    first = requestor.send(headers={"Idempotency-Key": "k1"}, metadata={"a": "b"})
    # Another expiresAt is no other command.
    second = requestor.send(headers={"Idempotency-Key": "k1"}, metadata={"a": "b"}, ttl=4000)
    assert second == first
    assert requestor.send(headers={"Idempotency-Key": "k2"}, metadata={"a": "b"})["id"] != first["id"]
    assert len(requestor.search()["hits"]) == 2
    assert len(service_site.agent.receive()) == 2
    # Later it is the record as it is then.
    assert requestor.send(headers={"Idempotency-Key": "k1"},
                          metadata={"a": "b"})["status"] == "PROCESSING"


def test_an_idempotency_key_is_not_for_another_command(service_site):
    first = service_site.requestor.send(headers={"Idempotency-Key": "k"})
    reply = post(service_site, headers={"Idempotency-Key": "k"}, action="other")
    assert reply.status == 422
    assert "used within 24 hours for another command" in reply.message
    assert first["id"] in reply.message
    assert len(service_site.requestor.search()["hits"]) == 1


def test_an_idempotency_key_is_the_orgs_own(service_site):
    other = service_site.service.create_token("requestor", service_site.org + "-b")
    first = service_site.requestor.send(headers={"Idempotency-Key": "k"})
    second = service_site.requestor.send(headers={"Idempotency-Key": "k", "ts-auth-token": other,
                                                  "x-org-slug": service_site.org + "-b"})
    assert first["id"] != second["id"]


def test_an_idempotency_key_holds_over_a_new_start_and_for_parallel_requests(service_own_site):
    ids = []

    def send():
        with service_own_site.new_requestor() as requestor:
            ids.append(requestor.send(headers={"Idempotency-Key": "k"})["id"])

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert len(set(ids)) == 1
    service_own_site.service.kill()
    service_own_site.service.start()
    assert service_own_site.new_requestor().send(headers={"Idempotency-Key": "k"})["id"] == ids[0]


def test_an_idempotency_key_must_be_one(service_site):
    assert "Idempotency-Key must have" in post(
        service_site, headers={"Idempotency-Key": "x" * 256}).message


# -- One command ----------------------------------------------------------------------


def test_an_unknown_command_is_404(service_site):
    known = service_site.requestor.send()["id"]
    for unknown in ("x", "427b3b99-98da-4ce2-b976-6de34454441f",
                    known[:-1] + ("0" if known[-1] != "0" else "1")):
        for path in (f"/v1/commands/{unknown}", f"/v1/commands/{unknown}/history",
                     f"/v1/commands/{unknown}/response", f"/internal/{unknown}"):
            reply = service_site.requestor.get(path)
            assert reply.status == 404
            assert reply.json()["error"] == "Not Found"
            assert reply.message == f"Command with ID {unknown} not found"


def test_wait_answers_at_the_terminal_status(service_own_site):
    record = service_own_site.requestor.send()
    command = service_own_site.agent.receive()[0]
    answers = []

    def wait():
        with service_own_site.new_requestor() as requestor:
            answers.append((requestor.record(record["id"], wait=60), time.monotonic()))

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(established(service_own_site)) < 5:  # the three, and the site's own two
        time.sleep(0.01)
    ended = time.monotonic()
    service_own_site.agent.end(command)
    for thread in threads:
        thread.join()
    assert [answer["status"] for answer, _ in answers] == ["SUCCESS"] * 3
    assert max(at for _, at in answers) - ended < 5
    # Of an ended one at once.
    began = time.monotonic()
    assert service_own_site.requestor.record(record["id"], wait=60)["status"] == "SUCCESS"
    assert time.monotonic() - began < 5


def established(site):
    """The sockets of the service that have a client, from the kernel's table."""
    port = f"{site.service.port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        lines = [line.split() for line in table][1:]
    return [line for line in lines if line[1].endswith(":" + port) and line[3] == "01"]


def test_wait_is_over_after_so_many_seconds(service_site):
    record = service_site.requestor.send()
    began = time.monotonic()
    assert service_site.requestor.record(record["id"], wait=1)["status"] == "PENDING"
    assert 0.9 < time.monotonic() - began < 10


def test_wait_must_be_a_number_of_seconds(service_site):
    record = service_site.requestor.send()
    for value in ("61", "-1", "x", "1.5", ""):
        reply = service_site.requestor.get(f"/v1/commands/{record['id']}?wait={value}")
        assert reply.status == 400
        assert reply.message == "wait must be a whole number from 0 to 60"


def test_history_tells_each_change(service_site):
    record = service_site.requestor.send()
    command = service_site.agent.receive()[0]
    service_site.agent.end(command, "FAILURE")
    reply = service_site.requestor.get(f"/v1/commands/{record['id']}/history").json()
    assert list(reply) == ["id", "history"]
    assert reply["id"] == record["id"]
    history = reply["history"]
    for entry in history:
        assert list(entry) == ["id", "commandId", "reason", "updatedBy", "updatedAt"]
        assert UUID.fullmatch(entry["id"])
        assert entry["commandId"] == record["id"]
        assert TIME.fullmatch(entry["updatedAt"])
    assert len({entry["id"] for entry in history}) == 4
    assert [(entry["reason"], entry["updatedBy"]) for entry in history] == [
        ("Command created", record["createdBy"]),
        ("Status update to PENDING", "platform"),
        ("Command status changed to PROCESSING: delivered, attempt 1", "target"),
        ("Command status changed to FAILURE", "target")]
    assert [entry["updatedAt"] for entry in history] == sorted(
        entry["updatedAt"] for entry in history)
    assert service_site.requestor.record(record["id"])["updatedAt"] == history[-1]["updatedAt"]
    assert service_site.requestor.history(record["id"]) == history


# -- Purging, actions -------------------------------------------------------------------


def test_purge_ends_what_waits_for_one_target(service_site):
    requestor = service_site.requestor
    under_way = requestor.send()
    service_site.agent.receive()
    waiting = [requestor.send()["id"] for _ in range(3)]
    other = requestor.send(target="agent-2")
    reply = requestor.delete("/v1/commands?targetId=agent-1")
    assert reply.status == 200
    assert reply.json() == {"purged": [{"commandId": command_id} for command_id in waiting]}
    for command_id in waiting:
        assert requestor.record(command_id)["status"] == "PURGED"
    assert requestor.history(waiting[0])[-1]["reason"] == (
        "Command status changed to PURGED: the queue was purged")
    assert requestor.record(under_way["id"])["status"] == "PROCESSING"
    assert requestor.record(other["id"])["status"] == "PENDING"
    assert service_site.agent.receive() == []
    assert requestor.delete("/v1/commands?targetId=agent-1").json() == {"purged": []}


def test_purge_wants_exactly_one_target(service_site):
    service_site.requestor.send()
    for query in ("", "?targetId=", "?targetId=a&targetId=b", "?target=agent-1",
                  "?targetId=agent-1&status=PENDING"):
        reply = service_site.requestor.delete("/v1/commands" + query)
        assert reply.status == 400, query
    assert service_site.requestor.search()["hits"][0]["status"] == "PENDING"


def test_actions_are_a_list_of_names(service_site):
    assert service_site.requestor.get("/v1/commands/actions").json() == []
    for action in ("b", "a", "b", 'quote"d'):
        service_site.requestor.send(action=action)
    service_site.agent.receive()
    assert service_site.requestor.get("/v1/commands/actions").json() == ["a", "b", 'quote"d']

"""What agents see: receiving with leases, extending, reporting, and TDP's two calls."""

import contextlib
import socket
import sqlite3
import threading
import time

import pytest

from service_client import Agent, Client, iso
from service_fixtures import Site

pytest_plugins = ["service_plugin"]

COMMAND = ["commandId", "targetId", "action", "createdAt", "expiresAt", "bodyDelivery", "body",
           "responseBodyUploadUrl", "receipt", "attempt"]


def test_a_delivered_command_has_all_its_fields(service_site):
    record = service_site.requestor.send(payload={"a": 1})
    commands = service_site.agent.receive()
    assert len(commands) == 1
    command = commands[0]
    assert list(command) == COMMAND
    assert command == {
        "commandId": record["id"], "targetId": "agent-1", "action": record["action"],
        "createdAt": record["createdAt"], "expiresAt": record["expiresAt"],
        "bodyDelivery": "embedded", "body": {"a": 1},
        "responseBodyUploadUrl": command["responseBodyUploadUrl"],
        "receipt": command["receipt"], "attempt": 1}
    assert command["responseBodyUploadUrl"].startswith(service_site.url + "/v1/uploads/")
    assert service_site.requestor.record(record["id"])["status"] == "PROCESSING"
    assert service_site.agent.receive() == []


def test_the_oldest_come_first_and_not_more_than_asked_for(service_site):
    ids = [service_site.requestor.send(action=f"a{n % 3}")["id"] for n in range(25)]
    assert [command["commandId"] for command in service_site.agent.receive()] == ids[:10]
    assert [c["commandId"] for c in service_site.agent.receive(max=1)] == ids[10:11]
    assert [c["commandId"] for c in service_site.agent.receive(max=100)] == ids[11:]


def test_wrong_options_are_all_named(service_site):
    reply = service_site.agent.call("receive", {"max": 0, "waitSeconds": 61, "leaseSeconds": "x"})
    assert reply.status == 400
    assert reply.message == ("max must be a whole number from 1 to 100; waitSeconds must be a whole"
                             " number from 0 to 60; leaseSeconds must be a whole number from 10 to"
                             " 3600")
    assert service_site.agent.post("/v1/agents/agent-1/commands/receive").json() == {
        "commands": []}


def test_a_referenced_payload_is_fetched_without_a_token_until_its_command_ends(service_site):
    record = service_site.requestor.send(payload={"big": ["x"]}, payloadDelivery="referenced")
    assert record["requestPayloadDelivery"] == "referenced"
    assert record["requestBody"]["body"] == {"big": ["x"]}
    command = service_site.agent.receive()[0]
    assert list(command) == [("bodyUrl" if key == "body" else key) for key in COMMAND]
    assert command["bodyDelivery"] == "referenced"
    assert command["bodyUrl"].startswith(service_site.url + "/v1/bodies/")
    stranger = Client(service_site.url)
    path = command["bodyUrl"][len(service_site.url):]
    reply = stranger.get(path)
    assert (reply.status, reply.json()) == (200, {"big": ["x"]})
    assert stranger.get(path[:-1] + ("0" if path[-1] != "0" else "1")).status == 404
    upload = command["responseBodyUploadUrl"][len(service_site.url):]
    assert stranger.get("/v1/bodies/" + "/".join(upload.split("/")[-2:])).status == 404
    service_site.agent.end(command)
    assert stranger.get(path).status == 404


def test_an_answer_holds_32_megabytes_but_always_one_command(service_site):
    for _ in range(5):
        service_site.requestor.send(payload="x" * 9_000_000)
    assert len(service_site.agent.receive()) == 3
    assert len(service_site.agent.receive()) == 2


def test_urls_follow_the_public_url(service_factory):
    site = Site(service_factory("--public-url", "https://relay.example/base/").start())
    site.requestor.send(payloadDelivery="referenced")
    command = site.agent.receive()[0]
    assert command["bodyUrl"].startswith("https://relay.example/base/v1/bodies/")
    assert command["responseBodyUploadUrl"].startswith("https://relay.example/base/v1/uploads/")


def test_a_host_header_that_is_none_is_refused(service_site):
    service_site.requestor.send()
    reply = service_site.new_agent(headers={"Host": 'evil"/x'}).call("receive", {})
    assert reply.status == 400
    assert "Host header" in reply.message
    assert len(service_site.agent.receive()) == 1


# -- Long polls -------------------------------------------------------------------------


def poll(site, results, **options):
    def run():
        with site.new_agent() as agent:
            results.append(agent.receive(**options))

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def connections(site, count):
    """Waits until the service has so many clients."""
    port = f":{site.service.port:04X}"
    while True:
        with open("/proc/net/tcp", encoding="ascii") as table:
            found = sum(1 for line in table
                        if line.split()[1].endswith(port) and line.split()[3] == "01")
        if found >= count:
            return
        time.sleep(0.01)


def test_a_long_poll_is_answered_at_once_when_a_command_comes(service_own_site):
    service_own_site.requestor.get("/healthz")
    results = []
    thread = poll(service_own_site, results, waitSeconds=60)
    connections(service_own_site, 2)
    began = time.monotonic()
    record = service_own_site.requestor.send()
    thread.join()
    assert time.monotonic() - began < 5
    assert [command["commandId"] for command in results[0]] == [record["id"]]


def test_a_long_poll_without_a_command_is_answered_empty_after_its_time(service_site):
    began = time.monotonic()
    assert service_site.agent.receive(waitSeconds=1) == []
    assert 0.9 < time.monotonic() - began < 10


def test_a_command_is_not_given_to_a_client_that_has_gone(service_own_site):
    service_own_site.requestor.get("/healthz")
    body = b'{"waitSeconds":60}'
    request = (f"POST /v1/agents/agent-1/commands/receive HTTP/1.1\r\nHost: x\r\n"
               f"ts-auth-token: {service_own_site.agent_token}\r\nx-org-slug: acme\r\n"
               f"Content-Length: {len(body)}\r\n\r\n").encode() + body
    for _ in range(3):
        gone = socket.create_connection(("127.0.0.1", service_own_site.service.port))
        gone.sendall(request)
        connections(service_own_site, 2)
        service_own_site.requestor.get("/healthz")  # what came before this was read before it
        gone.close()
    results = []
    thread = poll(service_own_site, results, waitSeconds=60)
    time.sleep(0.2)  # for the poll to begin; without it the test still holds
    record = service_own_site.requestor.send()
    thread.join()
    assert [(command["commandId"], command["attempt"]) for command in results[0]] == [
        (record["id"], 1)]


def test_a_delivery_that_breaks_off_is_taken_back_at_once(service_site):
    """The agent goes away in the middle of a large answer."""
    record = service_site.requestor.send(payload="x" * 9_000_000)
    body = b"{}"
    broken = socket.socket()
    broken.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    broken.connect(("127.0.0.1", service_site.service.port))
    broken.sendall((f"POST /v1/agents/agent-1/commands/receive HTTP/1.1\r\nHost: x\r\n"
                    f"ts-auth-token: {service_site.agent_token}\r\nx-org-slug: {service_site.org}\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n").encode() + body)
    assert broken.recv(1000).startswith(b"HTTP/1.1 200")
    assert service_site.requestor.record(record["id"])["status"] == "PROCESSING"
    broken.close()
    commands = service_site.agent.receive(waitSeconds=30)
    assert [(c["commandId"], c["attempt"]) for c in commands] == [(record["id"], 1)]


def test_waiting_polls_are_served_in_their_order(service_own_site):
    service_own_site.requestor.get("/healthz")
    results = [[], [], []]
    threads = []
    for number, result in enumerate(results):
        threads.append(poll(service_own_site, result, waitSeconds=60))
        connections(service_own_site, 2 + number)
        time.sleep(0.1)  # connected is not yet waiting
    ids = []
    for number in range(3):
        ids.append(service_own_site.requestor.send()["id"])
        threads[number].join(30)
    assert [[command["commandId"] for command in result[0]] for result in results] == [
        [command_id] for command_id in ids]


# -- Leases ------------------------------------------------------------------------------


def test_a_lease_that_runs_out_puts_the_command_back(service_factory):
    """The shortest lease is 10 seconds; the test does other things meanwhile."""
    site = Site(service_factory("--max-attempts", "2").start())
    record = site.requestor.send()
    kept = site.requestor.send()
    first, second = site.agent.receive(leaseSeconds=10)
    assert site.agent.extend([second["receipt"], "nonsense", first["receipt"][:-1] + "x"],
                             leaseSeconds=60) == ["ok", "lost", "lost"]
    began = time.monotonic()
    again = site.agent.receive(waitSeconds=30, leaseSeconds=10)
    assert 8 < time.monotonic() - began < 20
    assert [(c["commandId"], c["attempt"]) for c in again] == [(record["id"], 2)]
    assert again[0]["receipt"] != first["receipt"]
    assert site.agent.extend([first["receipt"], again[0]["receipt"]]) == ["lost", "ok"]
    assert site.requestor.record(kept["id"])["status"] == "PROCESSING"
    assert site.requestor.history(record["id"])[-2]["reason"] == (
        "Command status changed to PENDING: the lease of attempt 1 ran out")
    # PROCESSING with the lost receipt is refused, its end is not: the work was done.
    assert site.agent.update({"commandId": record["id"], "receipt": first["receipt"],
                              "status": "PROCESSING"})[0]["result"] == "conflict"
    assert site.agent.end(first)["result"] == "accepted"
    assert site.requestor.history(record["id"])[-1]["reason"] == (
        "Command status changed to SUCCESS: reported after its lease had run out")
    assert site.agent.end(again[0])["result"] == "duplicate"


def test_a_command_that_nobody_takes_expires(service_factory):
    site = Site(service_factory("--min-ttl-seconds", "0").start())
    record = site.requestor.send(ttl=1.5)
    ended = site.requestor.record(record["id"], wait=20)
    assert ended["status"] == "EXPIRED"
    assert site.requestor.history(record["id"])[-1]["reason"] == (
        "Command status changed to EXPIRED: nobody took it before expiresAt")
    assert site.agent.receive() == []


def expire_many(site, count):
    """Puts so many commands before the newest one, as if they had expired while the service
    was stopped. It must be stopped."""
    with contextlib.closing(sqlite3.connect(site.service.db)) as db, db:
        newest, = db.execute("SELECT max(seq) FROM command").fetchone()
        seqs = [(newest - 1 - n, newest) for n in range(count)]
        db.executemany("INSERT INTO command SELECT ?1, salt, bucket, token, updated_at, 1, 1,"
                       " attempt, delivery, response, receipt, changes FROM command"
                       " WHERE seq = ?2", seqs)
        db.executemany("INSERT INTO request SELECT ?1, payload, metadata FROM request"
                       " WHERE seq = ?2", seqs)


@pytest.mark.timing
@pytest.mark.parametrize("seconds", [0, 30])
def test_many_expired_commands_do_not_hold_up_the_one_behind_them(service_own_site, seconds):
    site = service_own_site
    record = site.requestor.send()
    site.service.stop()
    expire_many(site, 2000)
    site.service.start()
    began = time.monotonic()
    # By the timer alone it would be a second, and a call that does not wait would get nothing.
    commands = site.agent.receive(waitSeconds=seconds)
    assert [command["commandId"] for command in commands] == [record["id"]]
    assert time.monotonic() - began < 10
    states = {hit["status"] for hit in site.requestor.search(size=200, sort="asc")["hits"]}
    assert states == {"EXPIRED"}


def test_a_late_answer_is_better_than_none(service_factory):
    site = Site(service_factory("--min-ttl-seconds", "0").start())
    record = site.requestor.send(ttl=1)
    command = site.agent.receive()[0]
    other = site.requestor.send(ttl=1)  # nobody takes it: its end shows that time has passed
    assert site.requestor.record(other["id"], wait=20)["status"] == "EXPIRED"
    assert site.requestor.record(record["id"])["status"] == "PROCESSING"
    assert site.agent.end(command)["result"] == "accepted"
    assert site.requestor.record(record["id"])["status"] == "SUCCESS"


def test_extend_wants_a_list_of_receipts(service_site):
    reply = service_site.agent.call("extend", {"receipts": "x", "leaseSeconds": 5})
    assert reply.status == 400
    assert reply.message == ("receipts must be an array of receipts, not a string; leaseSeconds"
                             " must be a whole number from 10 to 3600")
    reply = service_site.agent.call("extend", {"receipts": [1, None, {"a": []}, "\u00e9"]})
    assert reply.json() == {"results": [{"receipt": value, "result": "lost"}
                                        for value in (1, None, {"a": []}, "\u00e9")]}


def test_a_thousand_receipts_are_extended_and_not_one_more(service_site):
    service_site.requestor.send()
    receipt = service_site.agent.receive()[0]["receipt"]
    reply = service_site.agent.call("extend", {"receipts": 1000 * ["x"] + [receipt]})
    assert (reply.status, reply.message) == (
        400, "receipts must hold at most 1000 receipts in one call: send the others in further"
             " calls")
    assert service_site.agent.extend(999 * ["x"] + [receipt]) == 999 * ["lost"] + ["ok"]


def test_another_agent_cannot_extend_or_end(service_site):
    service_site.requestor.send()
    command = service_site.agent.receive()[0]
    token = service_site.service.create_token("agent", service_site.org, "agent-2")
    other = Agent(service_site.url, token, service_site.org, "agent-2")
    assert other.extend([command["receipt"]]) == ["lost"]
    assert other.end(command) == {"commandId": command["commandId"], "result": "conflict",
                                  "reason": "there is no such command in this queue"}


# -- Status updates ------------------------------------------------------------------------


def test_an_answer_comes_back_byte_for_byte(service_site):
    record = service_site.requestor.send()
    command = service_site.agent.receive()[0]
    body = '{"body": "\\u0000 \\u00e9 {", "statusCode":200 , "headers":[{"a":1.50},{"a":[]}]}'
    updates = ('{"updates":[{"commandId":"%s","targetId":"agent-1","receipt":"%s",'
               '"status":"SUCCESS","body":%s,"responseBodyDelivery":"embedded","createdAt":"%s"}]}'
               % (record["id"], command["receipt"], body, iso(0)))
    reply = service_site.agent.post("/v1/agents/agent-1/commands/status", body=updates.encode())
    assert reply.json() == {"results": [{"commandId": record["id"], "result": "accepted"}]}
    text = service_site.requestor.get(f"/v1/commands/{record['id']}").text
    assert f'"responseBody":{body},"requestPayloadDelivery"' in text
    reply = service_site.requestor.get(f"/v1/commands/{record['id']}/response")
    assert (reply.status, reply.text) == (200, body)


@pytest.mark.parametrize("status", ["SUCCESS", "FAILURE", "REJECTED"])
def test_the_first_terminal_status_wins(service_site, status):
    record = service_site.requestor.send()
    command = service_site.agent.receive()[0]
    assert service_site.agent.update({"commandId": record["id"], "receipt": command["receipt"],
                                      "status": "PROCESSING", "createdAt": iso(0)}) == [
        {"commandId": record["id"], "result": "accepted"}]
    assert service_site.agent.end(command, status)["result"] == "accepted"
    assert service_site.agent.end(command, status, body={"body": "other"}) == {
        "commandId": record["id"], "result": "duplicate"}
    for other in {"SUCCESS", "FAILURE", "REJECTED", "PROCESSING"} - {status}:
        assert service_site.agent.end(command, other) == {
            "commandId": record["id"], "result": "conflict",
            "reason": f"the command has ended already, as {status}"}
    ended = service_site.requestor.record(record["id"])
    assert ended["status"] == status
    assert ended["responseBody"]["body"] == "done"
    assert len(service_site.requestor.history(record["id"])) == 4


def test_a_bad_update_does_not_spoil_the_others(service_site):
    ids = [service_site.requestor.send()["id"] for _ in range(3)]
    first, second = service_site.agent.receive(max=2)
    bad = [
        (3, None, "an update must be an object, not a number"),
        ({}, None, "commandId: must be a string, not null"),
        ({"commandId": ids[0]}, ids[0], "status: must be a string, not null"),
        ({"commandId": ids[0], "status": "PENDING"}, ids[0],
         "status must be PROCESSING, SUCCESS, FAILURE or REJECTED"),
        ({"commandId": ids[0], "status": "SUCCESS", "receipt": 1}, ids[0],
         "receipt: must be a string, not a number"),
        ({"commandId": ids[0], "status": "SUCCESS", "responseBodyDelivery": "x"}, ids[0],
         "responseBodyDelivery must be embedded or referenced"),
        ({"commandId": ids[0], "status": "SUCCESS", "responseBodyDelivery": "referenced"}, ids[0],
         "nothing was uploaded to responseBodyUploadUrl"),
        ({"commandId": ids[2], "status": "SUCCESS"}, ids[2],
         "the command was not delivered yet"),
        ({"commandId": "x", "status": "SUCCESS"}, "x", "there is no such command in this queue"),
    ]
    good = [{"commandId": ids[0], "receipt": first["receipt"], "status": "SUCCESS", "body": {}},
            {"commandId": ids[1], "receipt": second["receipt"], "status": "FAILURE"}]
    results = service_site.agent.update(good[0], *[update for update, _, _ in bad], good[1])
    assert results[0] == {"commandId": ids[0], "result": "accepted"}
    assert results[-1] == {"commandId": ids[1], "result": "accepted"}
    for result, (update, command_id, reason) in zip(results[1:-1], bad):
        if isinstance(update, dict) and update.get("status") == "SUCCESS" and \
                command_id == ids[0] and len(update) == 3 and "referenced" in update.values():
            assert result == {"commandId": command_id, "result": "duplicate"}
        else:
            assert result == {"commandId": command_id, "result": "conflict", "reason": reason}
    assert service_site.requestor.record(ids[1])["responseBody"] is None
    assert service_site.requestor.record(ids[2])["status"] == "PENDING"


def test_updates_must_be_a_list(service_site):
    for body, message in (({}, "updates must be an array of status updates, not null"),
                          ({"updates": {}}, "updates must be an array of status updates, not an"
                                            " object")):
        reply = service_site.agent.call("status", body)
        assert (reply.status, reply.message) == (400, message)
    assert service_site.agent.update() == []


def test_a_thousand_updates_are_taken_and_not_one_more(service_site):
    record = service_site.requestor.send()
    command = service_site.agent.receive()[0]
    end = {"commandId": record["id"], "receipt": command["receipt"], "status": "SUCCESS"}
    other = {"commandId": "x", "status": "SUCCESS"}
    reply = service_site.agent.call("status", {"updates": [end] + 1000 * [other]})
    assert (reply.status, reply.message) == (
        400, "updates must hold at most 1000 status updates in one call: send the others in"
             " further calls")
    assert service_site.requestor.record(record["id"])["status"] == "PROCESSING"
    # As many small ones as fit: not looked at one by one.
    items = b'{"updates":[' + b",".join([b"1"] * 4_000_000) + b"]}"
    reply = service_site.agent.post("/v1/agents/agent-1/commands/status", body=items)
    assert reply.status == 400, reply
    results = service_site.agent.update(*999 * [other], end)
    assert [result["result"] for result in results] == 999 * ["conflict"] + ["accepted"]


def test_eight_megabytes_of_updates_are_taken_and_not_one_byte_more(service_site):
    record = service_site.requestor.send()
    command = service_site.agent.receive()[0]
    limit = 8 * 1024 * 1024
    head = ('{"updates":[{"commandId":"%s","receipt":"%s","status":"SUCCESS","body":"'
            % (record["id"], command["receipt"])).encode()
    body = head + b"x" * (limit - len(head) - 4) + b'"}]}'
    path = "/v1/agents/agent-1/commands/status"
    reply = service_site.agent.post(path, body=body + b" ")
    assert reply.status == 413
    assert reply.message == "the updates of one call must not be larger than 8388608 bytes"
    assert service_site.agent.post(path, body=body).json()["results"][0]["result"] == "accepted"
    assert len(service_site.requestor.record(record["id"])["responseBody"]) > 8_000_000


# -- TDP's calls ----------------------------------------------------------------------------


def test_agent_config_names_no_queue(service_site):
    reply = service_site.agent.post("/v1/data-acquisition/agent/config", json={
        "agentId": "agent-1", "agentVersion": "v1.2.3"})
    assert reply.status == 200
    assert reply.json() == {
        "orgSlug": service_site.org, "integrationId": "agent-1", "agentId": "agent-1",
        "agentName": "agent-1", "region": "local", "bucket": None, "streamBucket": None,
        "backupBucket": None, "kmsKey": None, "integrationType": "user_defined", "metadata": {},
        "tags": [], "logGroupName": f"/agents/{service_site.org}/agent-1", "rpcSourceQueueUrl": None,
        "rpcPlatformQueueUrl": None}


def test_agent_status_is_taken_by_post_and_put(service_site):
    body = {"agentId": "agent-1", "agentVersion": "v1.2.3",
            "agent": "TetraScience.Agent.user-defined"}
    path = "/v1/data-acquisition/agent/status"
    assert service_site.agent.post(path, json=body).json() == {"agentName": "agent-1"}
    reply = service_site.agent.put(path, json={**body, "statusSetting": "STARTED"})
    assert (reply.status, reply.json()) == (200, {"agentName": "agent-1"})


def test_an_agent_id_that_is_not_the_tokens_is_unknown(service_site):
    for call in ("config", "status"):
        reply = service_site.agent.post(f"/v1/data-acquisition/agent/{call}",
                                        json={"agentId": "agent-2"})
        assert reply.status == 404
        assert reply.json()["error"] == "Not Found"
        assert reply.message == "Source with source ID agent-2 does not exist"
        reply = service_site.agent.post(f"/v1/data-acquisition/agent/{call}", json={})
        assert (reply.status, reply.message) == (400, "agentId must be a string, not null")

"""Many at once: agents that share a queue, long polls, parallel requestors."""

import json
import os
import socket
import threading
import time

import pytest

from service_client import iso

pytest_plugins = ["service_plugin"]

IS_CHECKED = bool(os.environ.get("SERVICE_WRAPPER")) or "san" in os.environ.get(
    "RELAY_BUILD_DIR", "")


def test_each_of_1000_commands_goes_to_one_of_four_agents(service_own_site):
    total = 1000
    received, failures = [], []
    lock = threading.Lock()
    sent = threading.Event()

    def work():
        try:
            with service_own_site.new_agent() as agent:
                while True:
                    commands = agent.receive(max=7, waitSeconds=2)
                    if not commands and sent.is_set():
                        return
                    with lock:
                        received.extend(command["commandId"] for command in commands)
                    for result in agent.update(*[
                            {"commandId": command["commandId"], "receipt": command["receipt"],
                             "status": "SUCCESS", "body": {"n": command["body"]["n"]}}
                            for command in commands]):
                        assert result["result"] == "accepted"
        except Exception as failure:
            failures.append(failure)
            raise

    def send(first, ids):
        with service_own_site.new_requestor() as requestor:
            for number in range(first, total, 4):
                ids[number] = requestor.send(payload={"n": number})["id"]

    ids = [None] * total
    agents = [threading.Thread(target=work) for _ in range(4)]
    requestors = [threading.Thread(target=send, args=(first, ids)) for first in range(4)]
    for thread in agents + requestors:
        thread.start()
    for thread in requestors:
        thread.join()
    sent.set()
    for thread in agents:
        thread.join()
    assert failures == []
    assert len(received) == total  # none twice
    assert set(received) == set(ids)  # none lost
    for start in range(0, total, 200):
        hits = service_own_site.requestor.search(**{"from": start, "size": 200})["hits"]
        assert len(hits) == 200
        for hit in hits:
            assert hit["status"] == "SUCCESS"
            assert hit["responseBody"] == hit["requestBody"]["body"]
    assert service_own_site.requestor.search(**{"from": total})["hits"] == []


def usage(pid):
    """CPU seconds, resident kilobytes and voluntary waits of a process."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        values = dict(line.split(":", 1) for line in status)
    return ((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
            int(values["VmRSS"].split()[0]), int(values["voluntary_ctxt_switches"]))


def long_poll(site, seconds):
    body = json.dumps({"waitSeconds": seconds, "max": 1}).encode()
    client = socket.create_connection(("127.0.0.1", site.service.port), timeout=60)
    client.sendall((f"POST /v1/agents/agent-1/commands/receive HTTP/1.1\r\nHost: x\r\n"
                    f"ts-auth-token: {site.agent_token}\r\nx-org-slug: acme\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n").encode() + body)
    return client


def read_answer(client):
    received = b""
    while b"\r\n\r\n" not in received:
        received += client.recv(65536)
    head, body = received.split(b"\r\n\r\n", 1)
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n")
                  if line.lower().startswith(b"content-length:"))
    while len(body) < length:
        body += client.recv(65536)
    return json.loads(body)


def test_500_long_polls_are_held_and_served(service_own_site):
    clients = [long_poll(service_own_site, 60) for _ in range(500)]
    service_own_site.requestor.get("/healthz")
    ids = {service_own_site.requestor.send()["id"] for _ in range(500)}
    got = [command["commandId"] for client in clients
           for command in read_answer(client)["commands"]]
    assert len(got) == 500
    assert set(got) == ids
    for client in clients:
        client.close()


@pytest.mark.timing
def test_500_long_polls_cost_little_memory_and_no_time(service_own_site):
    clients = [long_poll(service_own_site, 60) for _ in range(500)]
    service_own_site.requestor.get("/healthz")
    time.sleep(0.5)  # until all are read
    cpu, _, waits = usage(service_own_site.service.pid)
    time.sleep(2)
    cpu_after, resident, waits_after = usage(service_own_site.service.pid)
    for client in clients:
        client.close()
    assert cpu_after - cpu <= 0.02
    assert waits_after - waits <= 4
    if not IS_CHECKED:
        assert resident < 64 * 1024


@pytest.mark.timing
def test_an_idle_service_sleeps(service_own_site):
    service_own_site.requestor.send()
    service_own_site.agent.receive()
    service_own_site.requestor.close()
    service_own_site.agent.close()
    time.sleep(0.2)
    cpu, _, waits = usage(service_own_site.service.pid)
    time.sleep(2)
    cpu_after, _, waits_after = usage(service_own_site.service.pid)
    assert cpu_after - cpu <= 0.01
    assert waits_after - waits <= 2


def test_sixteen_requestors_in_parallel_store_everything(service_own_site):
    ids, lock = [], threading.Lock()

    def send():
        with service_own_site.new_requestor() as requestor:
            own = [requestor.send(target=f"agent-{number % 3}")["id"] for number in range(50)]
        with lock:
            ids.extend(own)

    threads = [threading.Thread(target=send) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 800
    service_own_site.service.kill()
    service_own_site.service.start()
    requestor = service_own_site.new_requestor()
    found = [hit["id"] for start in range(0, 800, 200)
             for hit in requestor.search(**{"from": start, "size": 200})["hits"]]
    assert sorted(found) == sorted(ids)


def test_many_connections_without_requests_do_not_keep_others_out(service_own_site):
    idle = [socket.create_connection(("127.0.0.1", service_own_site.service.port))
            for _ in range(400)]
    with service_own_site.new_requestor() as requestor:
        assert requestor.get("/healthz").status == 200
        requestor.send(expiresAt=iso(100))
    for client in idle:
        client.close()

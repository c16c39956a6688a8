"""HTTP itself: paths, methods, sizes, slow and broken clients."""

import socket
import time

import pytest

from service_client import Client, iso

pytest_plugins = ["service_plugin"]


def raw(site, request, until=b""):
    """Sends bytes, returns what comes until the service closes, or until so much has come."""
    with socket.create_connection(("127.0.0.1", site.service.port), timeout=30) as client:
        client.sendall(request)
        received = b""
        while not until or until not in received:
            data = client.recv(65536)
            if not data:
                break
            received += data
        return received


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/commandz", "/v1/commands/x/y", "/v1/commands/",
                                  "//v1/commands", "/v1/commands/x/history/", "/internal/", "/%",
                                  "/%zz", "/v1/commands%2Factions", "/v1/agents/a/commands",
                                  "/v1/commands/a%00b", "/" + "a/" * 50, "/healthz/x", "/.."])
def test_an_unknown_path_is_404(service_site, path):
    reply = service_site.requestor.get(path)
    assert reply.status == 404
    assert reply.json()["error"] == "Not Found"


@pytest.mark.parametrize("method, path, allowed", [
    ("PUT", "/v1/commands", "POST, GET, HEAD, DELETE"),
    ("POST", "/v1/commands/x", "GET, HEAD"),
    ("DELETE", "/v1/commands/actions", "GET, HEAD"),
    ("GET", "/internal", "POST"),
    ("GET", "/v1/agents/a/commands/receive", "POST"),
    ("DELETE", "/v1/data-acquisition/agent/status", "POST, PUT"),
    ("OPTIONS", "/healthz", "GET, HEAD"),
    ("BREW", "/healthz", "GET, HEAD"),
])
def test_a_wrong_method_is_405_with_the_right_ones(service_site, method, path, allowed):
    reply = service_site.requestor.request(method, path)
    assert reply.status == 405
    assert reply.headers["Allow"] == allowed
    assert reply.json()["error"] == "Method Not Allowed"
    assert reply.message.endswith(f"but: {allowed}")


def test_head_answers_like_get_without_the_body(service_site):
    record = service_site.requestor.send()
    for path in ("/healthz", "/v1/commands", f"/v1/commands/{record['id']}"):
        whole = service_site.requestor.get(path)
        head = service_site.requestor.request("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == str(len(whole.body))


def test_calls_without_a_body_take_none(service_site):
    reply = service_site.requestor.request("GET", "/v1/commands", body=b"x" * 100)
    assert (reply.status, reply.message) == (413, "this call takes no body")
    reply = service_site.agent.post("/v1/agents/agent-1/commands/receive", body=b" " * 65537)
    assert reply.status == 413
    assert reply.message == "the body of this call must not be larger than 65536 bytes"


def test_a_refused_body_that_waits_for_100_is_never_sent(service_site):
    head = ("POST /v1/commands HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            "Content-Length: 100000000\r\n")
    answer = raw(service_site, (head + "\r\n").encode())
    assert answer.startswith(b"HTTP/1.1 401 ")
    answer = raw(service_site, (
        head + f"x-org-slug: {service_site.org}\r\nts-auth-token: {service_site.requestor_token}\r\n\r\n").encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    # And one that is welcome gets its 100.
    body = ('{"targetId":"a","action":"a","expiresAt":"%s","payload":1}' % iso()).encode()
    with socket.create_connection(("127.0.0.1", service_site.service.port), timeout=30) as client:
        client.sendall((f"POST /v1/commands HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                        f"x-org-slug: {service_site.org}\r\nts-auth-token: {service_site.requestor_token}\r\n"
                        f"Content-Length: {len(body)}\r\n\r\n").encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 100 Continue")
        client.sendall(body)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_without_a_token_a_body_is_not_kept(service_site):
    """It is thrown away so that the client can read why it was refused."""
    reply = Client(service_site.url).post("/v1/commands", body=b"x" * 9_000_000)
    assert reply.status == 401


def test_many_large_bodies_without_a_token_cost_no_memory(service_own_site):
    begun = []
    for _ in range(50):
        client = socket.create_connection(("127.0.0.1", service_own_site.service.port))
        client.sendall(b"POST /v1/commands HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n")
        client.sendall(b"x" * 1_000_000)
        begun.append(client)
    service_own_site.requestor.get("/healthz")
    with open(f"/proc/{service_own_site.service.pid}/statm", encoding="ascii") as memory:
        resident = int(memory.read().split()[1]) * 4096
    for client in begun:
        client.close()
    assert resident < 250_000_000  # valgrind and sanitizers have their own needs
    assert service_own_site.requestor.get("/healthz").status == 200


def unread_get(site, path):
    """A client that asks and does not read."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", site.service.port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nx-org-slug: {site.org}\r\n"
                   f"ts-auth-token: {site.requestor_token}\r\n\r\n".encode())
    return client


@pytest.mark.timing  # it measures memory, of half a gigabyte of answers
def test_answers_that_are_not_read_fill_no_memory(service_own_site):
    site, requestor = service_own_site, service_own_site.requestor
    payload = "x" * 8_000_000
    ids = [requestor.send(payload=payload)["id"] for _ in range(7)]
    site.agent.end(site.agent.receive(max=1)[0], body="y" * 8_000_000)
    slow = []
    for _ in range(16):
        slow.append(unread_get(site, "/v1/commands"))
        assert requestor.get("/healthz").status == 200
    with open(f"/proc/{site.service.pid}/statm", encoding="ascii") as memory:
        resident = int(memory.read().split()[1]) * 4096
    assert resident < 700_000_000  # 1 GB without a ceiling; sanitizers have their own needs
    # What is large is refused, whatever reads it, …
    for path in ("/v1/commands", "/v1/commands/" + ids[0], f"/v1/commands/{ids[0]}/response"):
        while True:  # the last room is taken by whatever still fits
            reply = requestor.get(path)
            if reply.status == 503:
                break
            slow.append(unread_get(site, path))
        assert reply.headers["Retry-After"] == "1"
        assert "too many large answers are on their way" in reply.message
    reply = requestor.post("/v1/commands", json={
        "targetId": "agent-1", "action": "a", "expiresAt": iso(), "payload": payload})
    assert reply.status == 503
    # … but small ones pass, and agents get what they came for, one at a time.
    small = requestor.send(payload={})["id"]
    assert requestor.record(small)["status"] == "PENDING"
    assert [command["commandId"] for command in site.agent.receive()] == [ids[1]]
    for client in slow:
        client.close()
    deadline = time.monotonic() + 30
    while requestor.get("/v1/commands").status == 503:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # The refused command is not there.
    assert [hit["id"] for hit in requestor.search(sort="asc")["hits"]] == ids + [small]
    assert [command["commandId"] for command in site.agent.receive(max=3)] == ids[2:5]


def test_pipelined_requests_are_answered_in_order(service_site):
    request = (f"GET /v1/commands?size=%d HTTP/1.1\r\nHost: x\r\nx-org-slug: {service_site.org}\r\n"
               f"ts-auth-token: {service_site.requestor_token}\r\n\r\n")
    last = request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
    answer = raw(service_site, (request % 1 + request % 2 + last % 3).encode())
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert [answer.index(b'"size":%d' % size) for size in (1, 2, 3)] == sorted(
        answer.index(b'"size":%d' % size) for size in (1, 2, 3))


def test_clients_of_http_1_0_are_served(service_site):
    answer = raw(service_site, b"GET /healthz HTTP/1.0\r\n\r\n")
    assert b" 200 OK\r\n" in answer
    assert answer.endswith(b'{"status":"ok"}')


@pytest.mark.parametrize("junk", [
    b"\r\n\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
    b"GET /healthz HTTP/1.1\r\nHost x\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20000 + b"\r\n",
    b"POST /v1/commands HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
    b"POST /v1/commands HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n"], ids=[
        "empty lines", "no path", "TLS", "no colon", "many headers", "no length", "bad chunk",
        "long path"])
def test_junk_does_not_harm_others(service_site, junk):
    with socket.create_connection(("127.0.0.1", service_site.service.port)) as client:
        try:
            client.sendall(junk)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the service has closed it
        assert service_site.requestor.get("/healthz").status == 200
    assert service_site.requestor.get("/healthz").status == 200
    assert service_site.requestor.search()["hits"] == []


def test_a_body_that_breaks_off_stores_nothing(service_site):
    body = ('{"targetId":"a","action":"a","expiresAt":"%s","payload":1}' % iso()).encode()
    for cut in (0, 1, len(body) - 1):
        with socket.create_connection(("127.0.0.1", service_site.service.port)) as client:
            client.sendall((f"POST /v1/commands HTTP/1.1\r\nHost: x\r\nx-org-slug: {service_site.org}\r\n"
                            f"ts-auth-token: {service_site.requestor_token}\r\n"
                            f"Content-Length: {len(body)}\r\n\r\n").encode() + body[:cut])
    service_site.requestor.get("/healthz")
    assert service_site.requestor.search()["hits"] == []


def test_messages_cannot_be_broken_by_input(service_site):
    for text in ('"}\r\nX: y', "\u2028\x1b[31m", "a" * 100000):
        reply = service_site.requestor.post("/v1/commands", json={"targetId": {text: 1}})
        assert reply.status == 400
        assert "targetId must be a string, not an object" in reply.message
    for path in ("/v1/commands?status=%22%0d%0a%ff", "/v1/commands?%ff=1", "/v1/commands?a=%00"):
        reply = service_site.requestor.get(path)
        assert reply.status == 400
        assert "\n" not in reply.message
    reply = service_site.requestor.get("/v1/commands/%ff%0a%22")
    assert reply.status == 404
    assert reply.message == 'Command with ID \\xFF\\n" not found'


def test_the_log_holds_no_bodies_tokens_or_upload_keys(service_factory):
    from service_fixtures import Site
    site = Site(service_factory(env={"COMMAND_SERVICE_LOG_LEVEL": "debug"}).start())
    site.requestor.send(payload={"password": "hunter2"}, payloadDelivery="referenced")
    command = site.agent.receive()[0]
    Client(site.url).get(command["bodyUrl"][len(site.url):])
    Client(site.url).put(command["responseBodyUploadUrl"][len(site.url):], body=b'"hunter3"')
    site.agent.end(command, responseBodyDelivery="referenced")
    site.requestor.search(("metadata.secret", "hunter4"))
    assert site.service.stop() == 0
    log = site.service.log()
    assert log.count('"message":"request"') == 6
    for secret in ("hunter", site.requestor_token, site.agent_token, command["receipt"],
                   command["bodyUrl"].rsplit("/", 1)[1],
                   command["responseBodyUploadUrl"].rsplit("/", 1)[1]):
        assert secret not in log


def test_an_idle_service_logs_nothing_at_info(service_own_site):
    service_own_site.requestor.send()
    service_own_site.agent.end(service_own_site.agent.receive()[0])
    assert len(service_own_site.service.log().splitlines()) == 1


def test_answers_are_not_cached(service_site):
    assert service_site.requestor.get("/v1/commands").headers["Cache-Control"] == "no-store"


def test_a_slow_client_does_not_hold_up_others(service_site):
    slow = socket.create_connection(("127.0.0.1", service_site.service.port))
    slow.sendall(b"POST /v1/comm")
    began = time.monotonic()
    for _ in range(20):
        assert service_site.requestor.get("/healthz").status == 200
    assert time.monotonic() - began < 5
    slow.close()

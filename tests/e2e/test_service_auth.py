"""Tokens: who may do what, what a wrong one costs, and the verbs that make and revoke them."""

import re
import sqlite3
import time

import pytest

from service_client import Client, iso
from service_fixtures import Site, service_run

pytest_plugins = ["service_plugin"]

COMMAND = {"targetId": "agent-1", "action": "a", "payload": {}}

REQUESTOR_CALLS = [
    ("POST", "/v1/commands"), ("GET", "/v1/commands"), ("DELETE", "/v1/commands?targetId=agent-1"),
    ("GET", "/v1/commands/actions"), ("GET", "/v1/commands/x"), ("GET", "/v1/commands/x/history"),
    ("GET", "/v1/commands/x/response"), ("POST", "/internal"), ("GET", "/internal/x")]
AGENT_CALLS = [
    ("POST", "/v1/agents/agent-1/commands/receive"), ("POST", "/v1/agents/agent-1/commands/extend"),
    ("POST", "/v1/agents/agent-1/commands/status"), ("POST", "/v1/data-acquisition/agent/config"),
    ("POST", "/v1/data-acquisition/agent/status"), ("PUT", "/v1/data-acquisition/agent/status")]


@pytest.mark.parametrize("method, path", REQUESTOR_CALLS + AGENT_CALLS)
def test_no_call_works_without_the_right_token(service_site, method, path):
    is_agents = (method, path) in AGENT_CALLS
    own = service_site.agent_token if is_agents else service_site.requestor_token
    others = service_site.requestor_token if is_agents else service_site.agent_token

    def ask(**headers):
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return Client(service_site.url, headers=sent).request(method, path, body=b"{}")

    reply = ask()
    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")
    assert reply.message.startswith("no token: send it as the header ts-auth-token")
    reply = ask(ts_auth_token=own)
    assert reply.status == 401
    assert "x-org-slug" in reply.message
    reply = ask(ts_auth_token=own, x_org_slug="other")
    assert reply.status == 403
    assert "does not belong to the organisation in x-org-slug" in reply.message
    reply = ask(ts_auth_token=others, x_org_slug=service_site.org)
    assert reply.status == 403
    assert ("this call is for agents" if is_agents else "this call is for requestors"
            ) in reply.message
    for way in ({"ts_auth_token": own}, {"Authorization": f"Bearer {own}"},
                {"Authorization": f"bearer  {own}"}):
        assert ask(x_org_slug=service_site.org, **way).status not in (401, 403)
    reply = ask(ts_auth_token=own[:-1] + ("0" if own[-1] != "0" else "1"), x_org_slug=service_site.org)
    assert reply.status == 401
    assert "not known, or was revoked" in reply.message


def test_an_agents_token_opens_its_own_queue_only(service_site):
    for call in ("receive", "extend", "status"):
        reply = service_site.agent.post(f"/v1/agents/agent-2/commands/{call}", json={})
        assert reply.status == 403
        assert "another agent id" in reply.message


def test_agent_ids_may_need_escapes_in_a_path(service_site):
    token = service_site.service.create_token("agent", service_site.org, "lab:1?x=%")
    service_site.requestor.send(target="lab:1?x=%")
    reply = service_site.new_requestor(headers={}).post(
        "/v1/agents/lab%3A1%3Fx=%25/commands/receive", json={}, headers={"ts-auth-token": token})
    assert len(reply.json()["commands"]) == 1


def test_health_needs_no_token(service_site):
    reply = Client(service_site.url).get("/healthz")
    assert (reply.status, reply.json()) == (200, {"status": "ok"})


@pytest.mark.timing
def test_the_answer_after_a_wrong_token_is_slowed(service_own_site):
    def timed(token):
        began = time.monotonic()
        with Client(service_own_site.url, token, "acme") as client:
            status = client.get("/v1/commands").status
        return status, time.monotonic() - began

    assert timed(service_own_site.requestor_token)[1] < 0.2
    assert timed("wrong")[0] == 401
    status, first = timed("wrong")
    assert (status, first >= 0.25) == (401, True)
    status, second = timed("wrong")
    assert (status, second >= 0.5) == (401, True)
    # Others are served meanwhile, and the right token pays once.
    status, third = timed(service_own_site.requestor_token)
    assert (status, third >= 1.0) == (200, True)
    status, after = timed(service_own_site.requestor_token)
    assert status == 200 and after < 0.25
    assert "wrong token" in service_own_site.service.log()
    assert "wrong\"" not in service_own_site.service.log()


@pytest.mark.timing
def test_slowing_one_does_not_hold_up_others(service_site):
    """The delay is of an address: another one of loopback is not slowed."""
    wrong = Client(service_site.url, "wrong", service_site.org)
    for _ in range(3):
        wrong.get("/v1/commands")
    import socket
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", service_site.service.port),
                                  source_address=("127.0.0.2", 0)) as other:
        other.sendall((f"GET /v1/commands HTTP/1.1\r\nHost: x\r\nx-org-slug: {service_site.org}\r\n"
                       f"ts-auth-token: {service_site.requestor_token}\r\n\r\n").encode())
        assert other.recv(1000).startswith(b"HTTP/1.1 200")
    assert time.monotonic() - began < 0.5


# -- The verbs --------------------------------------------------------------------------


def test_create_prints_the_token_alone_and_stores_its_digest_only(service_factory):
    service = service_factory()
    done = service.verb("token", "create", "--org", "acme", "--role", "requestor", "--db",
                        service.db)
    assert re.fullmatch(r"cs_r_[0-9a-f]{64}\n", done.stdout)
    assert done.stderr == ""
    agent = service.create_token("agent", "acme", "agent-1")
    assert re.fullmatch(r"cs_a_[0-9a-f]{64}", agent)
    files = b"".join(path.read_bytes() for path in service.db.parent.glob("commands.db*")
                     if path.is_file())
    for token in (done.stdout.strip(), agent):
        assert token.encode() not in files
        assert bytes.fromhex(token[5:]) not in files
    assert service.db.stat().st_mode & 0o777 == 0o600


def test_list_shows_tokens_without_their_secrets(service_factory):
    service = service_factory()
    tokens = [service.create_token("requestor"), service.create_token("agent", "acme", "a-1")]
    listed = service.verb("token", "list", "--db", service.db).stdout
    lines = [line.split() for line in listed.splitlines()]
    assert lines[0] == ["ID", "ROLE", "ORG", "AGENT", "CREATED", "REVOKED"]
    assert [line[1:4] + line[5:] for line in lines[1:]] == [
        ["requestor", "acme", "-", "-"], ["agent", "acme", "a-1", "-"]]
    for token in tokens:
        assert token not in listed and token[5:20] not in listed


def test_a_running_service_sees_new_and_revoked_tokens_at_once(service_own_site):
    token = service_own_site.service.create_token("requestor")
    client = Client(service_own_site.url, token, "acme")
    record = client.post("/v1/commands", json={**COMMAND, "expiresAt": iso()}).json()
    listed = service_own_site.service.verb("token", "list", "--db", service_own_site.service.db).stdout
    number = listed.splitlines()[-1].split()[0]
    assert record["createdBy"] == number
    done = service_own_site.service.verb("token", "revoke", number, "--db", service_own_site.service.db)
    assert done.stderr == f"revoked {number}\n"
    assert client.get("/v1/commands").status == 401
    assert service_own_site.requestor.get("/v1/commands").status == 200
    # Its commands still say who made them, and it is still listed.
    assert service_own_site.requestor.record(record["id"])["createdBy"] == number
    listed = service_own_site.service.verb("token", "list", "--db", service_own_site.service.db).stdout
    assert listed.splitlines()[-1].split()[-1].startswith("20")
    again = service_own_site.service.verb("token", "revoke", number, "--db", service_own_site.service.db)
    assert again.returncode == 0


def test_wrong_words_are_refused_with_what_would_be_right(service_factory):
    db = ["--db", service_factory().db]
    for words, expected in [
            (["create"], ["--role (command line): must be requestor or agent",
                          "--org (command line): missing"]),
            (["create", "--org", "a b", "--role", "agent"],
             ["--agent (command line): missing", "--org (command line): must be 1 to 64"]),
            (["create", "--org", "a", "--role", "requestor", "--agent", "x"],
             ["--agent (command line): only goes with --role agent"]),
            (["create", "--org", "a", "--role", "agent", "--agent", "a/b"],
             ["--agent (command line): must be 1 to 200"]),
            (["create", "--org=a", "--role=boss"], ['not "boss"']),
            (["create", "--org"], ["--org (command line): has no value"]),
            (["create", "--frobnicate"], ["--frobnicate (command line): not known here"]),
            (["destroy"], ["token destroy: no such verb: create, list or revoke"]),
            (["revoke"], ["which one?"])]:
        done = service_run("token", *words, *db)
        assert done.returncode == 2, words
        assert done.stdout == ""
        for text in expected:
            assert text in done.stderr, (words, done.stderr)


def test_list_and_revoke_do_not_make_a_database(service_factory, tmp_path):
    for words in (["list"], ["revoke", "x"]):
        done = service_run("token", *words, "--db", tmp_path / "none.db")
        assert done.returncode == 1
        assert "does not exist" in done.stderr
    assert list(tmp_path.iterdir()) == []
    service = service_factory()
    service.create_token("requestor")
    done = service_run("token", "revoke", "nobody", "--db", service.db)
    assert (done.returncode, "there is no token nobody" in done.stderr) == (1, True)


def test_help_has_an_example():
    done = service_run("token", "--help")
    assert done.returncode == 0
    assert "Example:" in done.stdout and "COMMAND_SERVICE_DB" in done.stdout
    assert service_run("token").returncode == 2


def test_many_token_verbs_beside_a_busy_service(service_factory):
    """Both write to the same database; neither may fail."""
    site = Site(service_factory().start())
    import threading
    stop = threading.Event()
    failures = []

    def load():
        with site.new_requestor() as requestor:
            while not stop.is_set():
                reply = requestor.post("/v1/commands", json={**COMMAND, "expiresAt": iso()})
                if reply.status != 200:
                    failures.append(reply)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    tokens = [site.service.create_token("requestor") for _ in range(8)]
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(set(tokens)) == 8
    with sqlite3.connect(site.service.db) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)

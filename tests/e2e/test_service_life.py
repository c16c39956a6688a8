"""Starting, stopping, settings, crashes, full disks."""

import os
import re
import resource
import signal
import socket
import sqlite3
import threading
import time
import warnings

import pytest

from service_client import Agent, Client, Requestor, iso
from service_fixtures import CommandService, Site, service_run

pytest_plugins = ["service_plugin"]


# -- Starting -----------------------------------------------------------------------------


def test_the_port_file_appears_once_connections_are_accepted(service_factory):
    service = service_factory().start()
    assert service.port_file.read_text() == f"{service.port}\n"
    assert Client(service.url).get("/healthz").status == 200


def test_it_listens_on_ipv6_too(service_factory):
    service = service_factory(listen="[::1]:0").start()
    assert Client(f"http://[::1]:{service.port}").get("/healthz").status == 200


def test_usage_errors_are_2_and_wrong_settings_78(tmp_path):
    done = service_run("serve", "--frobnicate", "--db", tmp_path / "x")
    assert done.returncode == 2
    assert "--frobnicate (command line): not known here: see --help" in done.stderr
    assert service_run("frobnicate").returncode == 2
    assert service_run().returncode == 2
    done = service_run("serve", "--min-ttl-seconds", "soon", "--tls-cert", "/none/cert.pem", env={
        "COMMAND_SERVICE_LISTEN": "8080", "COMMAND_SERVICE_RETENTION_DAYS": "0",
        "COMMAND_SERVICE_LOG_LEVEL": "loud", "COMMAND_SERVICE_PUBLIC_URL": "ftp://x/"})
    assert done.returncode == 78
    for text in ("COMMAND_SERVICE_LISTEN (environment)", "127.0.0.1:8080",
                 "--min-ttl-seconds (command line)", "a whole number of seconds from 0 to 86400",
                 "--tls-cert (command line)", "/none/cert.pem",
                 "COMMAND_SERVICE_RETENTION_DAYS (environment)",
                 "COMMAND_SERVICE_LOG_LEVEL (environment)", "debug, info, warn, error",
                 "COMMAND_SERVICE_PUBLIC_URL (environment)", "COMMAND_SERVICE_TLS_KEY: missing"):
        assert text in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 7


def test_a_certificate_needs_its_key(tmp_path):
    pem = tmp_path / "some.pem"
    pem.write_text("x")
    done = service_run("serve", "--tls-cert", pem)
    assert done.returncode == 78
    assert "COMMAND_SERVICE_TLS_KEY: missing" in done.stderr
    done = service_run("serve", "--tls-cert", pem, "--tls-key", pem, "--listen", "127.0.0.1:0",
                       "--db", tmp_path / "db")
    assert done.returncode == 1
    assert "both must be PEM, and belong together" in done.stderr


def test_help_names_every_setting_and_has_an_example():
    done = service_run("serve", "--help")
    assert done.returncode == 0
    for name in ("LISTEN", "DB", "PORT_FILE", "TLS_CERT", "TLS_KEY", "PUBLIC_URL",
                 "MIN_TTL_SECONDS", "MAX_ATTEMPTS", "RETENTION_DAYS", "MAX_UPLOAD_BYTES",
                 "LOG_LEVEL", "LOG_FORMAT"):
        assert f"COMMAND_SERVICE_{name}" in done.stdout
    assert "Example:" in done.stdout and "--dev" in done.stdout
    assert "command-service serve" in service_run("--help").stdout
    assert re.fullmatch(r"command-service \d+\.\d+\.\d+\n", service_run("version").stdout)


def test_an_address_in_use_is_explained(service_factory, tmp_path):
    service = service_factory().start()
    done = service_run("serve", "--listen", f"127.0.0.1:{service.port}", "--db", tmp_path / "db")
    assert done.returncode == 1
    assert f"listen on 127.0.0.1:{service.port}: the address is in use" in done.stderr
    assert "--listen" in done.stderr


def test_a_database_has_one_service(service_factory):
    service = service_factory().start()
    done = service_run("serve", "--listen", "127.0.0.1:0", "--db", service.db)
    assert done.returncode == 1
    assert "another command-service runs on it" in done.stderr
    assert Client(service.url).get("/healthz").status == 200


def test_what_is_no_database_of_ours_is_left_alone(tmp_path):
    text = tmp_path / "text"
    text.write_text("this is no database\n" * 1000)
    done = service_run("serve", "--listen", "127.0.0.1:0", "--db", text)
    assert (done.returncode, "is no SQLite database" in done.stderr) == (1, True), done.stderr
    assert text.read_text() == "this is no database\n" * 1000
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE t (x)")
    database.close()
    done = service_run("serve", "--listen", "127.0.0.1:0", "--db", other)
    assert (done.returncode, "belongs to another program" in done.stderr) == (1, True)
    newer = tmp_path / "newer.db"
    service_run("token", "create", "--org", "o", "--role", "requestor", "--db", newer)
    with sqlite3.connect(newer) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    done = service_run("serve", "--listen", "127.0.0.1:0", "--db", newer)
    assert (done.returncode, "newer command-service" in done.stderr) == (1, True)


def test_a_database_that_cannot_be_written_is_explained(tmp_path):
    done = service_run("serve", "--listen", "127.0.0.1:0", "--db", tmp_path / "none" / "db")
    assert done.returncode == 1
    assert f"database {tmp_path}/none/db" in done.stderr
    done = service_run("serve", "--listen", "127.0.0.1:0", "--db", tmp_path)
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr


def test_files_are_for_their_owner_only(service_own_site):
    service_own_site.requestor.send()
    for path in service_own_site.service.db.parent.glob("commands.db*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_dev_makes_tokens_on_an_empty_database(service_factory):
    service = service_factory("--dev").start()
    log = service.log()
    settings = dict(re.findall(r"([A-Z_]+)=(\S+)", log.split("# a requestor:")[0]))
    requestor_token = re.search(r"AUTH_TOKEN=(cs_r_\w+)", log)[1]
    assert settings["COMMAND_SERVICE_URL"] == service.url
    requestor = Requestor(service.url, requestor_token, settings["ORG_SLUG"])
    record = requestor.send(target=settings["AGENT_ID"])
    agent = Agent(service.url, settings["AUTH_TOKEN"], settings["ORG_SLUG"], settings["AGENT_ID"])
    assert agent.receive()[0]["commandId"] == record["id"]
    assert service.stop() == 0
    service.start()
    assert "the database has tokens already, none were made" in service.log()
    assert service.log().count("AUTH_TOKEN=cs_r_") == 1
    assert requestor.record(record["id"])["status"] == "PROCESSING"


def test_https_is_served_with_a_certificate(service_factory, tmp_path):
    import ssl
    cert, key = make_certificate(tmp_path)
    service = service_factory("--tls-cert", cert, "--tls-key", key, tls=True).start()
    token = service.create_token("requestor")
    requestor = Requestor(service.url, token, "acme", cafile=cert)
    record = requestor.send(payload="x" * 1_000_000)
    agent = Agent(service.url, service.create_token("agent", "acme", "agent-1"), "acme",
                  cafile=cert)
    command = agent.receive()[0]
    assert command["responseBodyUploadUrl"].startswith(service.url + "/")
    upload = Client(service.url, cafile=cert).put(
        command["responseBodyUploadUrl"][len(service.url):], body=b'"%s"' % (b"y" * 11_000_000))
    assert upload.status == 200
    agent.end(command, responseBodyDelivery="referenced")
    answer = requestor.get(f"/v1/commands/{record['id']}/response")
    assert answer.body == b'"%s"' % (b"y" * 11_000_000)
    context = ssl.create_default_context(cafile=cert)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is the point
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", service.port)) as plain:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(plain, server_hostname="127.0.0.1")


def make_certificate(folder):
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.utcnow()
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name)
        .public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256()))
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"


# -- Stopping -----------------------------------------------------------------------------


def waiting(service, count):
    """Waits until the service has so many clients."""
    port = f":{service.port:04X}"
    while True:
        with open("/proc/net/tcp", encoding="ascii") as table:
            found = sum(1 for line in table
                        if line.split()[1].endswith(port) and line.split()[3] == "01")
        if found >= count:
            return
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_answers_long_polls_empty_and_ends_with_0(service_own_site, number):
    service_own_site.requestor.get("/healthz")
    record = service_own_site.requestor.send(target="agent-2")
    results = []

    def poll():
        with service_own_site.new_agent() as agent:
            results.append(agent.receive(waitSeconds=60))

    def wait():
        with service_own_site.new_requestor() as requestor:
            results.append(requestor.record(record["id"], wait=60)["status"])

    threads = [threading.Thread(target=poll) for _ in range(3)] + [threading.Thread(target=wait)]
    for thread in threads:
        thread.start()
    waiting(service_own_site.service, 5)
    service_own_site.requestor.get("/healthz")
    began = time.monotonic()
    service_own_site.service.signal(number)
    assert service_own_site.service.wait() == 0
    assert time.monotonic() - began < 3
    for thread in threads:
        thread.join()
    assert sorted(results, key=str) == ["PENDING", [], [], []]


def test_a_request_under_way_ends_before_the_service_does(service_own_site):
    body = ('{"targetId":"agent-1","action":"a","expiresAt":"%s","payload":1}' % iso()).encode()
    with socket.create_connection(("127.0.0.1", service_own_site.service.port), timeout=30) as client:
        client.sendall((f"POST /v1/commands HTTP/1.1\r\nHost: x\r\nx-org-slug: acme\r\n"
                        f"ts-auth-token: {service_own_site.requestor_token}\r\n"
                        f"Content-Length: {len(body)}\r\n\r\n").encode() + body[:20])
        time.sleep(0.2)  # for its head to be read: else it is no request yet
        service_own_site.service.signal(signal.SIGTERM)
        deadline = time.monotonic() + 10
        while True:  # no new connections are taken
            try:
                socket.create_connection(("127.0.0.1", service_own_site.service.port)).close()
            except ConnectionRefusedError:
                break
            except ConnectionResetError:
                pass  # it was in the line of a socket that was being closed
            assert time.monotonic() < deadline
            time.sleep(0.01)
        client.sendall(body[20:])
        answer = client.recv(10000)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"Connection: close" in answer
    assert service_own_site.service.wait() == 0
    service_own_site.service.start()
    assert len(service_own_site.new_requestor().search()["hits"]) == 1


def test_a_request_that_never_ends_does_not_keep_the_service(service_own_site):
    with socket.create_connection(("127.0.0.1", service_own_site.service.port)) as client:
        client.sendall((f"POST /v1/commands HTTP/1.1\r\nHost: x\r\nx-org-slug: acme\r\n"
                        f"ts-auth-token: {service_own_site.requestor_token}\r\n"
                        f"Content-Length: 1000\r\n\r\n").encode())
        time.sleep(0.2)  # for its head to be read
        began = time.monotonic()
        service_own_site.service.signal(signal.SIGTERM)
        assert service_own_site.service.wait() == 0
        assert 4 < time.monotonic() - began < 15
    assert "stopping with requests under way" in service_own_site.service.log()


def test_a_second_signal_stops_at_once(service_own_site):
    with socket.create_connection(("127.0.0.1", service_own_site.service.port)) as client:
        client.sendall((f"POST /v1/commands HTTP/1.1\r\nHost: x\r\nx-org-slug: acme\r\n"
                        f"ts-auth-token: {service_own_site.requestor_token}\r\n"
                        f"Content-Length: 1000\r\n\r\n").encode())
        time.sleep(0.2)  # for its head to be read
        service_own_site.service.signal(signal.SIGTERM)
        while "stopping on SIGTERM" not in service_own_site.service.log():
            time.sleep(0.01)
        began = time.monotonic()
        service_own_site.service.signal(signal.SIGTERM)
        assert service_own_site.service.wait() == 0
        assert time.monotonic() - began < 3


# -- Surviving ----------------------------------------------------------------------------


def test_everything_is_kept_over_a_new_start(service_own_site):
    requestor, agent = service_own_site.requestor, service_own_site.agent
    records = [requestor.send(metadata={"n": str(n)}) for n in range(4)]
    first, second = agent.receive(max=2)
    agent.end(first)
    before = [requestor.record(record["id"]) for record in records]
    histories = [requestor.history(record["id"]) for record in records]
    for stop in (service_own_site.service.stop, service_own_site.service.kill):
        stop()
        service_own_site.service.start()
        requestor, agent = service_own_site.new_requestor(), service_own_site.new_agent()
        assert [requestor.record(record["id"]) for record in records] == before
        assert [requestor.history(record["id"]) for record in records] == histories
    assert agent.extend([second["receipt"]]) == ["ok"]
    assert agent.end(second)["result"] == "accepted"
    assert [command["commandId"] for command in agent.receive()] == [
        record["id"] for record in records[2:]]


def test_what_was_answered_survives_kill_9_under_load(service_own_site):
    """Commands that were answered with 200 are there, whole, whenever the service is killed."""
    service = service_own_site.service
    stored, ended = [], []
    for _ in range(2 if os.environ.get("SERVICE_WRAPPER") else 4):
        stop = threading.Event()

        def post():
            with service_own_site.new_requestor() as requestor:
                while not stop.is_set():
                    try:
                        stored.append(requestor.send(payload="x" * 2000)["id"])
                    except (OSError, AssertionError):
                        return
                    except Exception:  # http.client's: the answer broke off
                        return

        def work():
            with service_own_site.new_agent() as agent:
                while not stop.is_set():
                    try:
                        for command in agent.receive(waitSeconds=1):
                            if agent.end(command)["result"] == "accepted":
                                ended.append(command["commandId"])
                    except (OSError, AssertionError):
                        return
                    except Exception:  # http.client's: the answer broke off
                        return

        threads = [threading.Thread(target=call) for call in (post, post, post, work)]
        already = len(stored)
        for thread in threads:
            thread.start()
        while len(stored) < already + 100:
            time.sleep(0.005)
        service.kill()
        stop.set()
        for thread in threads:
            thread.join()
        service.start()
    requestor = service_own_site.new_requestor()
    for command_id in stored:
        assert requestor.record(command_id)["requestBody"]["body"] == "x" * 2000
    for command_id in ended:
        assert requestor.record(command_id)["status"] == "SUCCESS"
    assert len(ended) > 0
    service.stop()
    with sqlite3.connect(service.db) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_full_disk_is_503_with_nothing_half_written_and_heals(service_own_site):
    """The limit on file sizes stands for a disk that is full; raising it, for one that is not
    any more."""
    service, requestor = service_own_site.service, service_own_site.requestor
    first = requestor.send(payload="x" * 1000)
    if os.environ.get("SERVICE_WRAPPER"):
        pytest.skip("the limit would be that of the wrapper's files too")
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
    stored, refused = [first["id"]], 0
    while refused < 5:
        reply = requestor.post("/v1/commands", json={
            "targetId": "agent-1", "action": "a", "expiresAt": iso(), "payload": "x" * 30_000})
        if reply.status == 200:
            stored.append(reply.json()["id"])
        else:
            assert reply.status == 503
            assert reply.headers["Retry-After"] == "1"
            assert "nothing was changed" in reply.message
            refused += 1
        assert len(stored) < 1000
    # What is there can still be read.
    hits = requestor.search(size=200)["hits"]
    assert [hit["id"] for hit in hits] == stored[::-1]
    # An upload has no room either.
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE,
                     (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    command = service_own_site.agent.receive(max=1)[0]
    path = command["responseBodyUploadUrl"][len(service_own_site.url):]
    assert Client(service_own_site.url).put(path, body=b'"small"').status == 200
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    reply = Client(service_own_site.url).put(path, body=b'"%s"' % (b"x" * 200_000))
    assert reply.status == 503
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE,
                     (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert requestor.send()["status"] == "PENDING"
    assert service_own_site.agent.end(command, responseBodyDelivery="referenced")["result"] == (
        "accepted")
    assert requestor.record(command["commandId"])["responseBody"] == "small"
    log = service.log()
    assert log.count("storage fails, requests get 503") == 1
    assert "storage works again" in log
    service.stop()
    with sqlite3.connect(service.db) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_full_disk_loses_no_delivery(service_own_site):
    """A command that cannot be marked as delivered is not delivered."""
    if os.environ.get("SERVICE_WRAPPER"):
        pytest.skip("the limit would be that of the wrapper's files too")
    service, requestor = service_own_site.service, service_own_site.requestor
    ids = [requestor.send(payload="x" * 1000)["id"] for _ in range(20)]
    wal = service.db.with_name("commands.db-wal").stat().st_size
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (wal, resource.RLIM_INFINITY))
    reply = service_own_site.agent.call("receive", {"max": 20})
    while reply.status == 200 and reply.json()["commands"]:
        reply = service_own_site.agent.call("receive", {"max": 1})
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE,
                     (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    delivered = [hit["id"] for hit in requestor.search(status="PROCESSING")["hits"]]
    rest = [command["commandId"] for command in service_own_site.agent.receive(max=100)]
    assert sorted(delivered + rest) == sorted(ids)
    assert reply.status == 503
    assert rest


def test_old_ended_commands_are_forgotten(service_factory):
    service = service_factory("--retention-days", "1").start()
    site = Site(service)
    kept = site.requestor.send(target="agent-2")
    answers = []
    for number in range(3):
        site.requestor.send(metadata={"n": str(number)}, headers={"Idempotency-Key": str(number)})
        command = site.agent.receive()[0]
        if number == 0:
            Client(site.url).put(command["responseBodyUploadUrl"][len(site.url):],
                                 body=b'"%s"' % (b"x" * 11_000_000))
            site.agent.end(command, responseBodyDelivery="referenced")
        else:
            site.agent.end(command)
        answers.append(command["commandId"])
    service.stop()
    folder = service.db.with_name("commands.db-answers")
    assert len(list(folder.iterdir())) == 1
    with sqlite3.connect(service.db) as database:  # two days pass
        database.execute("UPDATE command SET updated_at = updated_at - 2 * 86400000")
    database.close()
    service.start()
    requestor = site.new_requestor()
    deadline = time.monotonic() + 30
    while len(requestor.search()["hits"]) > 1 or list(folder.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert requestor.search()["hits"][0]["id"] == kept["id"]
    for command_id in answers:
        assert requestor.get(f"/v1/commands/{command_id}").status == 404
    service.stop()
    with sqlite3.connect(service.db) as database:
        for table, count in (("command", 1), ("request", 1), ("response", 0), ("metadata", 0)):
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (count,)


def test_it_can_be_started_again_at_once_on_the_same_port(service_factory):
    service = service_factory().start()
    port = service.port
    for _ in range(3):
        client = Client(service.url)
        assert client.get("/healthz").status == 200
        assert service.stop() == 0
        service.start()
        assert service.port == port
    assert isinstance(service, CommandService)

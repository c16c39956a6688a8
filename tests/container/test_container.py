"""Both images, built from docker/Dockerfile and run as they are meant to be run, with Debian's
podman and buildah (no daemon). `scripts/test --container` runs this; it needs root, because
debootstrap makes the base image where none can be pulled.

All images and containers live in a store of this run's own, which is removed at its end."""

import contextlib
import http.server
import json
import pathlib
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE_IMAGE = "docker.io/library/debian:bookworm-slim"  # what the Dockerfile's FROM means
BASE_ARCHIVE = ROOT / "build/container/base.tar"
MAX_AGENT_BYTES = 25_000_000
ORG = "acme"

# What a careful operator gives, and what hosts with old cgroups need.
RUN_FLAGS = ["--network", "host", "--read-only", "--cap-drop", "all",
             "--security-opt", "no-new-privileges",
             "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]


class Engine:
    def __init__(self, folder):
        # Short paths: sockets are made below them.
        self.store = ["--root", str(folder / "store"), "--runroot", str(folder / "run")]
        self.containers = []

    def run(self, *command, check=True, **options):
        done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True,
                              text=True, check=False, stdin=subprocess.DEVNULL, **options)
        if check:
            assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
        return done

    def podman(self, *words, **options):
        return self.run("podman", *self.store, "--runtime", "runc", "--cgroup-manager",
                        "cgroupfs", *words, **options)

    def buildah(self, *words, **options):
        return self.run("buildah", *self.store, *words, **options)

    def build(self, image, *options):
        self.buildah("bud", "--isolation", "chroot", "--pull-never", "--layers",
                     "-f", "docker/Dockerfile", "-t", image, *options, ".")

    def image(self, image, form):
        return self.podman("image", "inspect", "--format", form, image).stdout.strip()

    def start(self, name, image, env, *words):
        variables = [word for key, value in env.items() for word in ("-e", f"{key}={value}")]
        self.containers.append(name)
        self.podman("run", "--detach", "--name", name, *RUN_FLAGS, *variables, image, *words)

    def run_once(self, image, env, *words):
        variables = [word for key, value in env.items() for word in ("-e", f"{key}={value}")]
        return self.podman("run", "--rm", *RUN_FLAGS, *variables, image, *words, check=False)

    def logs(self, name):
        done = self.podman("logs", name)
        return (done.stdout + done.stderr).splitlines()

    def stop(self, name):
        """Seconds it took, and the exit status."""
        began = time.monotonic()
        self.podman("stop", "--time", "10", name)
        took = time.monotonic() - began
        status = self.podman("inspect", "--format", "{{.State.ExitCode}}", name).stdout
        return took, int(status)

    def close(self):
        for name in self.containers:
            self.podman("rm", "--force", "--volumes", "--time", "1", name, check=False)
        # Unmounts what is left of it before the folder goes.
        self.podman("rmi", "--all", "--force", check=False)
        self.podman("unmount", "--all", check=False)


@pytest.fixture(scope="session")
def engine():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="relay-", dir="/var/tmp"))
    engine = Engine(folder)
    try:
        if not BASE_ARCHIVE.exists():
            engine.run("scripts/lib/base-image", BASE_ARCHIVE)
        engine.podman("import", "--quiet", BASE_ARCHIVE, BASE_IMAGE)
        yield engine
    finally:
        engine.close()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def agent_image(engine):
    engine.build("relay-agent")
    return "relay-agent"


@pytest.fixture(scope="session")
def service_image(engine, agent_image):
    # After the agent's: its layers are there already.
    engine.build("command-service", "--target", "service")
    return "command-service"


@contextlib.contextmanager
def files_of(engine, image):
    container = engine.podman("create", image).stdout.strip()
    try:
        yield pathlib.Path(engine.podman("mount", container).stdout.strip())
    finally:
        engine.podman("umount", container, check=False)
        engine.podman("rm", container)


def assert_holds_only(root, program):
    """The program, libraries, certificates, and the few files of /etc; nothing to run but that."""
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*")
                   if path.is_file() and not path.is_symlink())
    allowed = {f"usr/bin/{program}", "etc/passwd", "etc/group", "etc/nsswitch.conf",
               "etc/ssl/certs/ca-certificates.crt",
               # podman's own mount points
               "etc/hosts", "etc/hostname", "etc/resolv.conf", "run/.containerenv"}
    others = [name for name in files
              if name not in allowed and not (name.startswith(("lib/", "lib64/")) and
                                              ".so" in pathlib.PurePath(name).name)]
    assert others == []
    assert f"usr/bin/{program}" in files


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Target(http.server.BaseHTTPRequestHandler):
    """Answers with what it got."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        text = json.dumps({"method": self.command, "path": self.path, "body": body.decode()})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


class TargetServer(http.server.ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Target)

    def handle_error(self, *_):
        """A client that does not trust the certificate breaks off: that is asked for below."""


@pytest.fixture(scope="session")
def target():
    server = TargetServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def tls_target(tmp_path_factory):
    """A target with a certificate that nobody has signed."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key", "-out",
                    folder / "certificate"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate", folder / "key")
    server = TargetServer()
    server.socket = context.wrap_socket(server.socket, server_side=True,
                                        do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Service:
    """The command service in its container."""

    def __init__(self, engine, image):
        self.engine = engine
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        engine.start("service", image, {"COMMAND_SERVICE_LISTEN": f"127.0.0.1:{self.port}"})
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            assert time.monotonic() < deadline, "\n".join(engine.logs("service"))
            time.sleep(0.05)

    def token(self, role, *more):
        return self.engine.podman("exec", "service", "command-service", "token", "create",
                                  "--org", ORG, "--role", role, *more).stdout.strip()


@pytest.fixture(scope="session")
def service(engine, service_image):
    return Service(engine, service_image)


def settings(service, agent_id, token, key):
    return {"COMMAND_SERVICE_URL": service.url, "AGENT_ID": agent_id, "ORG_SLUG": ORG,
            "AUTH_TOKEN": token, "SECURE_COMMAND_KEY": key}


def send(service, agent_id, key, *words):
    """Sends a command as a requestor would, from the agent's own image; its record."""
    done = service.engine.run_once(
        "relay-agent", settings(service, agent_id, service.token("requestor"), key),
        "send", "--json", *words)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def lines_of(engine, container, record):
    return [line for line in engine.logs(container) if record["id"] in line]


def test_the_agent_image_is_small_and_holds_the_program_and_its_libraries_only(
        engine, agent_image):
    size = int(engine.image(agent_image, "{{.Size}}"))
    print(f"agent image: {size / 1e6:.1f} MB")
    assert size <= MAX_AGENT_BYTES
    with files_of(engine, agent_image) as root:
        assert_holds_only(root, "relay-agent")


def test_the_service_image_holds_the_program_and_its_libraries_only(engine, service_image):
    print(f"service image: {int(engine.image(service_image, '{{.Size}}')) / 1e6:.1f} MB")
    with files_of(engine, service_image) as root:
        assert_holds_only(root, "command-service")


@pytest.mark.parametrize("shell", ["sh", "bash", "/bin/sh", "busybox"])
def test_there_is_no_shell_to_run(engine, agent_image, shell):
    done = engine.podman("run", "--rm", *RUN_FLAGS, "--entrypoint", shell, agent_image,
                         "-c", "true", check=False)
    assert done.returncode == 127, done.stderr


@pytest.mark.parametrize("program", ["agent", "service"])
def test_neither_runs_as_root(engine, agent_image, service_image, program):
    image = {"agent": agent_image, "service": service_image}[program]
    assert engine.image(image, "{{.Config.User}}") == "65532:65532"
    assert engine.image(image, "{{.Config.StopSignal}}") in ("SIGTERM", "15")


def test_without_settings_it_names_what_is_missing_and_ends_with_78(engine, agent_image):
    done = engine.podman("run", "--rm", *RUN_FLAGS, agent_image, check=False)
    assert done.returncode == 78
    for name in ("COMMAND_SERVICE_URL", "AGENT_ID", "ORG_SLUG", "AUTH_TOKEN"):
        assert name in done.stderr


def test_it_relays_is_stopped_and_reconfigured_by_a_new_run(
        engine, agent_image, service, target, tls_target):
    key = engine.run_once(agent_image, {}, "keygen").stdout.strip()
    token = service.token("agent", "--agent", "lab-1")
    engine.start("agent", agent_image, settings(service, "lab-1", token, key))

    plain = send(service, "lab-1", key, target + "/plain")
    assert plain["status"] == "SUCCESS"
    assert json.loads(plain["responseBody"]["body"])["path"] == "/plain"

    secret = send(service, "lab-1", key, "--encrypt", "-d", "äöü", target + "/secret")
    assert secret["status"] == "SUCCESS"
    assert json.loads(secret["responseBody"]["body"])["body"] == "äöü"

    # TLS works in there, and trusts only whom it should.
    refused = send(service, "lab-1", key, tls_target + "/")
    assert "DEPTH_ZERO_SELF_SIGNED_CERT" in refused["responseBody"]["body"]
    trusted = send(service, "lab-1", key, "-k", tls_target + "/")
    assert trusted["status"] == "SUCCESS"

    for record in (plain, secret, refused, trusted):
        assert len(lines_of(engine, "agent", record)) == 1
    uid = pathlib.Path("/proc", engine.podman(
        "inspect", "--format", "{{.State.Pid}}", "agent").stdout.strip(), "status").read_text()
    assert "Uid:\t65532\t65532\t65532\t65532" in uid
    assert "CapEff:\t0000000000000000" in uid

    took, status = engine.stop("agent")
    assert status == 0
    assert took < 5, "the agent was idle"

    # Another id, token and key: settings are read at the start, so a new run has new ones.
    key = engine.run_once(agent_image, {}, "keygen").stdout.strip()
    token = service.token("agent", "--agent", "lab-2")
    engine.start("agent-2", agent_image, settings(service, "lab-2", token, key))
    again = send(service, "lab-2", key, "--encrypt", target + "/again")
    assert again["status"] == "SUCCESS"
    assert len(lines_of(engine, "agent-2", again)) == 1
    assert engine.stop("agent-2")[1] == 0
    took, status = engine.stop("service")
    assert status == 0
    assert took < 5

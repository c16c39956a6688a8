"""Starts and stops the real command-service.

    from service_fixtures import CommandService

    with CommandService(db=tmp_path / "commands.db") as service:
        token = service.create_token("requestor", org="acme")
        requests.get(service.url + "/v1/commands", headers=service_headers(token, "acme"))

Everything is on loopback, on a free port that the service itself picks. Nothing here
sleeps for a guessed time: the port file appears once connections are accepted.
"""

import os
import pathlib
import re
import shlex
import signal
import subprocess
import tempfile
import time

from service_client import Agent, Requestor

ROOT = pathlib.Path(__file__).resolve().parents[2]

START_SECONDS = 30  # under valgrind a start takes a few seconds


def service_build_dir():
    """The build tree under test: RELAY_BUILD_DIR (relative to the repository) or build."""
    return (ROOT / os.environ.get("RELAY_BUILD_DIR", "build")).resolve()


def service_headers(token, org, **more):
    headers = {"x-org-slug": org, "ts-auth-token": token}
    headers.update({name.replace("_", "-"): value for name, value in more.items()})
    return headers


def service_wrapper():
    """A program in front of the service, such as valgrind: SERVICE_WRAPPER."""
    return shlex.split(os.environ.get("SERVICE_WRAPPER", ""))


class CommandService:
    """One command-service process on one database. start() again after stop() or kill()
    continues with the same database, and with the same port unless told otherwise."""

    def __init__(self, build_dir=None, db=None, *args, listen="127.0.0.1:0", env=None,
                 preexec_fn=None, tls=False):
        self.program = pathlib.Path(build_dir or service_build_dir()) / "command-service"
        self._folder = tempfile.TemporaryDirectory(prefix="service-")
        self.folder = pathlib.Path(self._folder.name)
        self.db = pathlib.Path(db) if db else self.folder / "commands.db"
        self.args = [str(word) for word in args]
        self.listen = listen
        self.env = env or {}
        self.preexec_fn = preexec_fn
        self.scheme = "https" if tls else "http"
        self.port = None
        self.process = None
        self.port_file = self.folder / "port"
        self.log_path = self.folder / "service.log"

    # -- life -----------------------------------------------------------------------

    def environment(self):
        clean = {name: value for name, value in os.environ.items()
                 if not name.startswith("COMMAND_SERVICE_")}
        clean.update({name: str(value) for name, value in self.env.items()})
        return clean

    def command_line(self):
        return service_wrapper() + [
            str(self.program), "serve", "--listen", self.listen, "--db", str(self.db),
            "--port-file", str(self.port_file)] + self.args

    def start(self, same_port=True):
        assert self.process is None, "already started"
        if same_port and self.port and self.listen.endswith(":0"):
            self.listen = f"{self.listen[:-2]}:{self.port}"
        self.port_file.unlink(missing_ok=True)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command_line(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.environment(), preexec_fn=self.preexec_fn)
        self._wait_for_port()
        return self

    def _wait_for_port(self):
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                text = self.port_file.read_text()
                if text.strip():
                    self.port = int(text)
                    return
            except FileNotFoundError:
                pass
            if self.process.poll() is not None:
                status, self.process = self.process.returncode, None
                raise AssertionError(f"command-service ended with {status}:\n{self.log()}")
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"command-service did not start:\n{self.log()}")
            time.sleep(0.005)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=30):
        status = self.process.wait(timeout)
        self.process = None
        return status

    def stop(self, timeout=30):
        """SIGTERM and wait; returns the exit status (None when it is not running)."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self):
        """SIGKILL, as power loss would end it."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        self.process = None

    def close(self):
        try:
            self.stop()
        finally:
            self.kill()
            self._folder.cleanup()

    def __enter__(self):
        if self.process is None:
            self.start()
        return self

    def __exit__(self, *exc):
        self.close()

    # -- use ------------------------------------------------------------------------

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def verb(self, *words, check=True, timeout=60):
        """Runs another verb of the program on this database; returns the finished process."""
        done = subprocess.run([str(self.program), *map(str, words)], capture_output=True,
                              text=True, timeout=timeout, env=self.environment())
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def create_token(self, role, org="acme", agent=None):
        """A new token (works whether the service is running or not)."""
        words = ["token", "create", "--org", org, "--role", role, "--db", str(self.db)]
        if agent is not None:
            words += ["--agent", agent]
        return self.verb(*words).stdout.strip()


def service_run(*words, env=None, timeout=60, build_dir=None):
    """Runs the program with these words and returns the finished process."""
    clean = {name: value for name, value in os.environ.items()
             if not name.startswith("COMMAND_SERVICE_")}
    clean.update(env or {})
    program = pathlib.Path(build_dir or service_build_dir()) / "command-service"
    return subprocess.run([str(program), *map(str, words)], capture_output=True, text=True,
                          timeout=timeout, env=clean)


REPORT = re.compile(r"ERROR: \w+Sanitizer|runtime error: |^==\d+== ", re.MULTILINE)


class Site:
    """A running service with one organisation's tokens, for tests that only want to talk."""

    def __init__(self, service, org="acme", agent="agent-1"):
        self.service = service
        self.url = service.url
        self.org = org
        self.agent_id = agent
        self.requestor_token = service.create_token("requestor", org)
        self.agent_token = service.create_token("agent", org, agent)
        self.requestor = Requestor(self.url, self.requestor_token, org)
        self.agent = Agent(self.url, self.agent_token, org, agent)

    def new_requestor(self, **options):
        """On a connection of its own."""
        return Requestor(self.url, self.requestor_token, self.org, **options)

    def new_agent(self, **options):
        return Agent(self.url, self.agent_token, self.org, self.agent_id, **options)

"""A command service in a few lines that a test can make misbehave. What the agent itself
sends to a service is kept, with the time of each call."""

import collections
import contextlib
import json
import queue
import select
import socket
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from support.processes import PATIENCE
from support.requestors import PLAIN, TERMINAL, timestamp

Call = collections.namedtuple("Call", "method path headers body at")


def wrong(status, headers=None, content=b'{"statusCode":0,"error":"x","message":"x"}'):
    """An answer to a call that is not what the agent hopes for."""
    def answer(handler):
        handler.reply(status, content, headers)
    return answer


def not_json(handler):
    handler.reply(200, b"<html>what?</html>", {"Content-Type": "text/html"})


def half_an_answer(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"commands": [')
    handler.close_connection = True


def no_answer(handler):
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def hang(handler):
    """Nothing, until the peer gives up."""
    handler.close_connection = True
    handler.connection.recv(1)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body of an answer are two pieces

    def setup(self):
        super().setup()
        self.server.fake.open.add(self.connection)

    def finish(self):
        self.server.fake.open.discard(self.connection)
        super().finish()

    def log_message(self, *args):
        pass

    def reply(self, status, content, headers=None):
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self):
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.fake.handle(self, content)

    do_PUT = do_GET = do_POST


def _has_hung_up(connection):
    readable, _, _ = select.select([connection], [], [], 0)
    try:
        return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
    except (OSError, ValueError):  # TLS knows no peeking
        return False


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """An agent may hang up whenever it likes."""


class FakeService:
    agent_id = "fake-agent"
    org = "fake-org"
    token = "fake-token"

    def __init__(self, context=None):
        self.calls = []
        self.updates = []
        self.faults = []  # answers to the next receives
        self.status_faults = []  # answers to the next posts of statuses
        self.upload_faults = []
        self.extend_faults = []  # answers to the next extensions of leases
        self.documents = {}  # path -> (status, content) of GET
        self.uploads = {}
        self.open = set()  # connections
        self.is_down = False  # hangs up on every call
        self.speed = 1  # of the agent's clock
        self._commands = queue.Queue()
        self._news = threading.Condition()
        self.stopping = threading.Event()
        self.context = context
        self.holder = None
        self._listen(0)
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.server.server_port}"

    def _listen(self, port):
        self.server = _Server(("127.0.0.1", port), _Handler)
        self.server.fake = self
        if self.context:
            self.server.socket = self.context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def settings(self, **more):
        return {"COMMAND_SERVICE_URL": self.url, "AGENT_ID": self.agent_id, "ORG_SLUG": self.org,
                "AUTH_TOKEN": self.token, **more}

    def close(self):
        self.stopping.set()
        if self.holder:
            self.holder.close()
        else:
            self.server.shutdown()
            self.server.server_close()

    def go_away(self):
        """Nobody listens any more; the port is kept."""
        self.server.shutdown()
        self.server.server_close()
        self.hold()
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def hold(self):
        """Keeps the port without listening on it."""
        self.holder = socket.socket()
        self.holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.holder.bind(("127.0.0.1", self.server.server_port))

    def come_back(self):
        port = self.holder.getsockname()[1]
        self.holder.close()
        self.holder = None
        self._listen(port)

    # -- the test's side ------------------------------------------------------------

    def give(self, payload=None, without=(), **fields):
        """Puts a command into the agent's queue as it stands; returns its id."""
        command = {"commandId": str(uuid.uuid4()), "targetId": self.agent_id, "action": PLAIN,
                   "createdAt": timestamp(), "expiresAt": timestamp(600), "body": payload,
                   "bodyDelivery": "embedded", **fields}
        command = {name: value for name, value in command.items() if name not in without}
        self._commands.put(command)
        return command.get("commandId")

    def give_together(self, commands):
        """Answers the next receive with all of them, as they stand, however many it asks for."""
        self.faults.append(wrong(200, content=json.dumps({"commands": commands}).encode()))

    def calls_to(self, last_segment):
        with self._news:
            return [call for call in self.calls if call.path.endswith("/" + last_segment)]

    def wait_for(self, predicate, timeout=PATIENCE):
        """Until something that has happened here makes the predicate true; its value."""
        with self._news:
            value = self._news.wait_for(predicate, timeout)
        assert value, [(call.method, call.path) for call in self.calls]
        return value

    def wait_for_receives(self, count):
        self.wait_for(lambda: sum(c.path.endswith("/receive") for c in self.calls) >= count)

    def first_long_poll(self):
        """A first receive may ask without waiting, to find out whether the service is there."""
        return self.wait_for(lambda: [call for call in self.calls if call.path.endswith("/receive")
                                      and call.body.get("waitSeconds")])[0]

    def wait_end(self, command_id):
        """The terminal status message of that command."""
        def ended():
            return [update for update in self.updates
                    if update.get("commandId") == command_id and update["status"] in TERMINAL]
        ends = self.wait_for(ended)
        assert len(ends) == 1, ends
        return ends[0]

    def send(self, payload=None, **options):
        return self.wait_end(self.give(payload, **options))

    # -- the agent's side -----------------------------------------------------------

    def handle(self, handler, content):
        path = handler.path.split("?")[0]
        try:
            body = json.loads(content) if content else None
        except ValueError:
            body = content
        call = Call(handler.command, path, list(handler.headers.items()), body, time.monotonic())
        with self._news:
            self.calls.append(call)
            faults = self._faults_of(handler.command, path)
            fault = faults.pop(0) if faults else None
            self._news.notify_all()
        if self.is_down:
            no_answer(handler)
        elif fault:
            fault(handler)
        elif path.endswith("/receive"):
            handler.reply(200, json.dumps({"commands": self._receive(handler, body)}).encode())
        elif path.endswith("/commands/status"):
            handler.reply(200, json.dumps(self.take(body)).encode())
        elif path.endswith("/extend"):
            results = [{"receipt": receipt, "result": "ok"} for receipt in body["receipts"]]
            handler.reply(200, json.dumps({"results": results}).encode())
        elif handler.command == "GET":
            status, document = self.documents.get(path, (404, b"{}"))
            handler.reply(status, document)
        elif path.startswith("/upload/"):
            self.uploads[path] = (dict(handler.headers.items()), content)
            handler.reply(200, b"{}")
        else:
            handler.reply(200, b"{}")

    def _faults_of(self, method, path):
        if method == "PUT" and path.startswith("/upload/"):
            return self.upload_faults
        if path.endswith("/receive"):
            return self.faults
        if path.endswith("/extend"):
            return self.extend_faults
        return self.status_faults if path.endswith("/commands/status") else []

    def _receive(self, handler, body):
        """One command at a time, as soon as there is one, to an agent that is still there."""
        deadline = time.monotonic() + min(body["waitSeconds"], 20) / self.speed
        while not self.stopping.is_set() and time.monotonic() < deadline:
            try:
                command = self._commands.get(timeout=0.2 / self.speed)
            except queue.Empty:
                continue
            if _has_hung_up(handler.connection):
                self._commands.put(command)
                return []
            return [{"receipt": "receipt-of-" + str(command.get("commandId")), "attempt": 1,
                     **command}]
        return []

    def take(self, body):
        with self._news:
            self.updates += body["updates"]
            self._news.notify_all()
        return {"results": [{"commandId": update["commandId"], "result": "accepted"}
                            for update in body["updates"]]}

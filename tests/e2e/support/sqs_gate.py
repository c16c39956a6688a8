"""What the agent takes for SQS: a reverse proxy to the emulator that looks at each call as AWS
would (signature by botocore, credentials that live), keeps it, and can make trouble."""

import collections
import http.client
import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from support.processes import PATIENCE
from support.tdp_platform import REGION

SqsCall = collections.namedtuple("SqsCall", "operation body at ended status via")


# Trouble: what happens instead of the emulator's answer (or behind it).

def error(status, code, message="made up"):
    def play(gate, handler, forward):
        handler.reply(status, {"__type": f"com.amazonaws.sqs#{code}", "message": message})
        return status
    return play


def html(status):
    def play(gate, handler, forward):
        handler.reply(status, b"<html>some proxy's page</html>", "text/html")
        return status
    return play


def slow(seconds):
    def play(gate, handler, forward):
        gate.stopping.wait(seconds)
        return forward()
    return play


def half_answer(gate, handler, forward):
    """The emulator does its work, and half of what it says is lost."""
    status, content = forward(send=False)
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[:len(content) // 2])
    handler.close_connection = True
    return 0


def reset(gate, handler, forward):
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.rfile.close()
    handler.wfile.close()
    handler.connection.close()
    return 0


def partial(code, count=1):
    """The first entries of a batch fail, the others go through."""
    def play(gate, handler, forward):
        status, content = forward(send=False, without=count)
        answer = json.loads(content)
        answer.setdefault("Failed", [])
        answer["Failed"] += [{"Id": str(index), "Code": code, "Message": "made up",
                              "SenderFault": True} for index in range(count)]
        handler.reply(status, answer)
        return status
    return play


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status, body, content_type="application/x-amz-json-1.0"):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self):
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.gate.handle(self, content)

    def do_PUT(self):
        self.server.gate.pass_on(self, self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self):
        self.server.gate.pass_on(self, None)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        """An agent may hang up whenever it likes."""


class SqsGate:
    def __init__(self, emulator, platform, context=None):
        self.emulator = emulator
        self.platform = platform
        self.calls = []
        self.urls = {}  # queue URLs that the agent sees -> the emulator's
        self.faults = {}  # operation -> trouble for its next calls
        self.open = 0  # calls that are under way
        self.lease_seconds = None  # messages come again sooner than the agent has asked for
        self.trouble = None  # for all calls: operation -> trouble or None
        self.objects = []  # (method, path, headers, content) of what was no call to SQS
        self.object_faults = []  # statuses of the next uploads
        self.stopping = threading.Event()
        self._news = threading.Condition()
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.gate = self
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.scheme = "https" if context else "http"
        self.host = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def show(self, url):
        """The queue's URL as the agent is to see it."""
        shown = f"{self.scheme}://{self.host}/{url.split('/', 3)[3]}"
        self.urls[shown] = url
        return shown

    def close(self):
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()

    def calls_of(self, operation):
        with self._news:
            return [call for call in self.calls if call.operation == operation]

    def count(self):
        with self._news:
            return collections.Counter(call.operation for call in self.calls)

    def wait_for(self, predicate, timeout=PATIENCE):
        with self._news:
            value = self._news.wait_for(predicate, timeout)
        assert value, self.count()
        return value

    # -- the agent's side -----------------------------------------------------------

    def refusal(self, handler, content):
        """None when AWS would accept who signed this and how; else (status, code)."""
        headers = {name.lower(): value for name, value in handler.headers.items()}
        algorithm, _, rest = headers.get("authorization", "").partition(" ")
        parts = dict(part.strip().split("=", 1) for part in rest.split(",")) if rest else {}
        if algorithm != "AWS4-HMAC-SHA256" or "Credential" not in parts:
            return 403, "MissingAuthenticationToken"
        access_key, _, scope = parts["Credential"].partition("/")
        lent = self.platform.lent.get(access_key)
        if lent is None or lent.token != headers.get("x-amz-security-token"):
            return 403, "InvalidClientTokenId"
        signed = parts["SignedHeaders"].split(";")
        if not {"host", "x-amz-date", "x-amz-security-token", "x-amz-target"} <= set(signed):
            return 403, "SignatureDoesNotMatch"
        url = f"{self.scheme}://{headers['host']}{handler.path}"
        request = AWSRequest("POST", url, data=content,
                             headers={name: headers[name] for name in signed})
        request.context["timestamp"] = headers["x-amz-date"]
        signer = SigV4Auth(Credentials(access_key, lent.secret, lent.token), "sqs", REGION)
        to_sign = signer.string_to_sign(request, signer.canonical_request(request))
        if (signer.signature(to_sign, request) != parts["Signature"]
                or scope != signer.credential_scope(request)):
            return 403, "SignatureDoesNotMatch"
        if time.time() > lent.ends:
            return 403, "ExpiredToken"
        return None

    def handle(self, handler, content):
        at = time.monotonic()
        body = json.loads(content)
        operation = handler.headers.get("X-Amz-Target", "").replace("AmazonSQS.", "")
        refused = self.refusal(handler, content)
        with self._news:
            self.open += 1
            faults = self.faults.get(operation)
            fault = faults.pop(0) if faults else None
        if refused is None and fault is None and self.trouble:
            fault = self.trouble(operation)

        def forward(send=True, without=0):
            real = {**body, "QueueUrl": self.urls[body["QueueUrl"]]}
            if without:
                real["Entries"] = real["Entries"][without:]
                if not real["Entries"]:
                    return 200, b'{"Successful": []}'
            if self.lease_seconds and "VisibilityTimeout" in real:
                real["VisibilityTimeout"] = self.lease_seconds
            return self._forward(handler, json.dumps(real).encode(), send)

        status = 0
        try:
            if refused:
                status, code = refused
                handler.reply(status, {"__type": f"com.amazonaws.sqs#{code}", "message": "no"})
            elif fault:
                status = fault(self, handler, forward)
            else:
                status = forward()
        finally:
            with self._news:
                self.open -= 1
                self.calls.append(SqsCall(operation, body, at, time.monotonic(),
                                          f"{refused[0]} {refused[1]}" if refused else status,
                                          handler.headers.get("Via")))
                self._news.notify_all()

    def _emulator(self, method, path, headers, content):
        connection = http.client.HTTPConnection("127.0.0.1", self.emulator.port, timeout=PATIENCE)
        try:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers.get("Content-Type"), answer.read()
        finally:
            connection.close()

    def _forward(self, handler, content, send):
        headers = {name: handler.headers[name] for name in ("Content-Type", "X-Amz-Target")}
        try:
            status, content_type, answer = self._emulator("POST", "/", headers, content)
        except (OSError, http.client.HTTPException):
            handler.close_connection = True
            return 0
        if not send:
            return status, answer
        handler.reply(status, answer, content_type)
        return status

    def pass_on(self, handler, content):
        """Presigned URLs: everything goes through as it is, and is kept."""
        with self._news:
            self.objects.append((handler.command, handler.path, dict(handler.headers.items()), content))
            fault = self.object_faults.pop(0) if self.object_faults and content is not None else None
            self._news.notify_all()
        if fault:
            handler.reply(fault, b"<Error/>", "application/xml")
            return
        headers = {name: value for name, value in handler.headers.items() if name != "Host"}
        status, content_type, answer = self._emulator(handler.command, handler.path, headers, content)
        handler.reply(status, answer, content_type or "application/xml")

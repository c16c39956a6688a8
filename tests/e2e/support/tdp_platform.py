"""A stand-in for the four calls of TDP's API that an agent makes. It lends credentials, which the
gate in front of the queues (sqs_gate.py) looks up here."""

import collections
import datetime
import json
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from support.processes import PATIENCE

Call = collections.namedtuple("Call", "method path headers body at")
Lent = collections.namedtuple("Lent", "secret token ends")
REGION = "us-east-2"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self):
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.platform.handle(self, json.loads(content) if content else None)

    do_PUT = do_GET = do_POST


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """An agent may hang up whenever it likes."""


class TdpPlatform:
    org = "acme"
    token = "eyJfake.jwt.token"
    agent_id = "0db83bc0-0921-414c-ad1c-05d47af3dd44"

    def __init__(self, context=None):
        self.calls = []
        self.lent = {}  # access key -> Lent
        self.life_seconds = 3600
        self.accepts_token = True
        self.faults = {}  # last segment of the path -> answers (status, body) to come
        self.queues = {"rpcSourceQueueUrl": None, "rpcPlatformQueueUrl": None}
        self._news = threading.Condition()
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.platform = self
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.url = f"http{'s' if context else ''}://{self.host}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def settings(self, **more):
        return {"COMMAND_SERVICE_URL": self.url, "AGENT_ID": self.agent_id, "ORG_SLUG": self.org,
                "AUTH_TOKEN": self.token, **more}

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def calls_to(self, last_segment, method=None):
        with self._news:
            return [call for call in self.calls if call.path.endswith("/agent/" + last_segment)
                    and method in (None, call.method)]

    def wait_for(self, predicate, timeout=PATIENCE):
        with self._news:
            value = self._news.wait_for(predicate, timeout)
        assert value, self.calls
        return value

    # -- the agent's side -----------------------------------------------------------

    def handle(self, handler, body):
        headers = {name.lower(): value for name, value in handler.headers.items()}
        call = Call(handler.command, handler.path, headers, body, time.monotonic())
        with self._news:
            self.calls.append(call)
            faults = self.faults.get(handler.path.rsplit("/", 1)[-1], [])
            fault = faults.pop(0) if faults else None
            self._news.notify_all()
        handler.reply(*(fault or self._answer(call)))

    def _answer(self, call):
        if (not self.accepts_token or call.headers.get("ts-auth-token") != self.token
                or call.headers.get("x-org-slug") != self.org):
            return 401, {"statusCode": 401, "error": "Unauthorized", "message": "Invalid token"}
        uuid.UUID(call.headers["ts-request-id"])
        if call.body["agentId"] != self.agent_id:
            return 404, {"statusCode": 404, "error": "Not Found", "message":
                         f"Source with source ID {call.body['agentId']} does not exist"}
        if (call.method, call.path) == ("POST", "/v1/data-acquisition/agent/config"):
            return 200, self._config()
        if (call.method, call.path) == ("POST", "/v1/data-acquisition/agent/credentials"):
            return 200, self._lend()
        if call.method in ("POST", "PUT") and call.path == "/v1/data-acquisition/agent/status":
            return 200, {"agentName": "Relay test"}
        return 404, {"statusCode": 404, "error": "Not Found", "message": "Not Found"}

    def _config(self):
        return {"orgSlug": self.org, "integrationId": "i", "agentId": self.agent_id,
                "agentName": "Relay test", "region": REGION, "bucket": "b", "streamBucket": "s",
                "backupBucket": "u", "kmsKey": "k", "integrationType": "user_defined",
                "metadata": {}, "tags": [], "logGroupName": f"/agents/{self.org}/{self.agent_id}",
                **self.queues}

    def _lend(self):
        ends = time.time() + self.life_seconds
        access_key = "ASIA" + uuid.uuid4().hex[:16].upper()
        lent = Lent(uuid.uuid4().hex, "FwoG/session+token==" + uuid.uuid4().hex, ends)
        with self._news:
            self.lent[access_key] = lent
        expiration = datetime.datetime.fromtimestamp(ends, datetime.timezone.utc)
        return {"AccessKeyId": access_key, "SecretAccessKey": lent.secret,
                "SessionToken": lent.token,
                "Expiration": expiration.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"}

    def secrets(self):
        with self._news:
            return [self.token] + [text for lent in self.lent.values()
                                   for text in (lent.secret, lent.token)]

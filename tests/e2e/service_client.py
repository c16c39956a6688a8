"""A small HTTP client for the service's tests, on the standard library alone.

    client = Client(service.url, requestor_token, "acme")
    reply = client.post("/v1/commands", json={...})
    assert reply.status == 200, reply.text
    reply.json()["id"]

A connection is kept open between calls, and opened again when the service closed it.
"""

import datetime
import http.client
import json as json_module
import ssl
import urllib.parse


class Reply:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers  # an email.message.Message: names in any letter case
        self.body = body

    @property
    def text(self):
        return self.body.decode()

    def json(self):
        return json_module.loads(self.body)

    @property
    def message(self):
        """The message of an error, whose shape is checked on the way."""
        value = self.json()
        assert list(value) == ["statusCode", "error", "message"], value
        assert value["statusCode"] == self.status
        return value["message"]

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Client:
    def __init__(self, url, token=None, org=None, headers=None, timeout=60, cafile=None):
        parts = urllib.parse.urlsplit(url)
        self.parts = parts
        self.timeout = timeout
        self.headers = dict(headers or {})
        if token:
            self.headers["ts-auth-token"] = token
        if org:
            self.headers["x-org-slug"] = org
        self.cafile = cafile
        self.connection = None

    def _open(self):
        if self.parts.scheme == "https":
            context = ssl.create_default_context(cafile=self.cafile)
            return http.client.HTTPSConnection(self.parts.hostname, self.parts.port,
                                               timeout=self.timeout, context=context)
        return http.client.HTTPConnection(self.parts.hostname, self.parts.port,
                                          timeout=self.timeout)

    def request(self, method, path, body=None, json=None, headers=None):
        sent = dict(self.headers)
        if json is not None:
            body = json_module.dumps(json).encode()
            sent["Content-Type"] = "application/json"
        sent.update(headers or {})
        sent = {name: value for name, value in sent.items() if value is not None}
        was_open = self.connection is not None
        for attempt in (1, 2):
            if self.connection is None:
                self.connection = self._open()
            try:
                self.connection.request(method, path, body=body, headers=sent)
                answer = self.connection.getresponse()
                data = answer.read()
                break
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                self.close()
                if not was_open or attempt == 2:
                    raise
        reply = Reply(answer.status, answer.headers, data)
        if answer.will_close:
            self.close()
        return reply

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, **options):
        return self.request("POST", path, **options)

    def put(self, path, **options):
        return self.request("PUT", path, **options)

    def delete(self, path, **options):
        return self.request("DELETE", path, **options)

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def iso(seconds_ahead=3600.0, now=None):
    """A time so many seconds ahead, as clients write it."""
    moment = (now or datetime.datetime.now(datetime.timezone.utc))
    moment += datetime.timedelta(seconds=seconds_ahead)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class Requestor(Client):
    """A requestor of one organisation."""

    def send(self, target="agent-1", payload=None, action="TetraScience.Connector.http.Request",
             ttl=3600.0, headers=None, **more):
        """Posts a command; returns its record."""
        command = {"targetId": target, "action": action, "expiresAt": iso(ttl),
                   "payload": {"method": "GET", "url": "http://127.0.0.1/"}
                   if payload is None else payload}
        command.update(more)
        reply = self.post("/v1/commands", json=command, headers=headers)
        assert reply.status == 200, reply
        return reply.json()

    def record(self, command_id, wait=None):
        query = "" if wait is None else f"?wait={wait}"
        reply = self.get(f"/v1/commands/{command_id}{query}")
        assert reply.status == 200, reply
        return reply.json()

    def history(self, command_id):
        reply = self.get(f"/v1/commands/{command_id}/history")
        assert reply.status == 200, reply
        return reply.json()["history"]

    def search(self, *pairs, **parameters):
        query = urllib.parse.urlencode(list(pairs) + list(parameters.items()), doseq=True)
        reply = self.get(f"/v1/commands?{query}")
        assert reply.status == 200, reply
        return reply.json()


class Agent(Client):
    """An agent, as far as the service sees it."""

    def __init__(self, url, token, org, agent="agent-1", **options):
        super().__init__(url, token, org, **options)
        self.agent = agent

    def call(self, name, body):
        return self.post(f"/v1/agents/{urllib.parse.quote(self.agent, safe='')}/commands/{name}",
                         json=body)

    def receive(self, **options):
        reply = self.call("receive", options)
        assert reply.status == 200, reply
        value = reply.json()
        assert list(value) == ["commands"]
        return value["commands"]

    def extend(self, receipts, **options):
        reply = self.call("extend", {"receipts": receipts, **options})
        assert reply.status == 200, reply
        return [result["result"] for result in reply.json()["results"]]

    def update(self, *updates):
        reply = self.call("status", {"updates": list(updates)})
        assert reply.status == 200, reply
        return reply.json()["results"]

    def end(self, command, status="SUCCESS", **more):
        """Ends a delivered command; returns the result of its update."""
        update = {"commandId": command["commandId"], "receipt": command["receipt"],
                  "status": status, "createdAt": iso(0)}
        if "responseBodyDelivery" not in more:
            update["body"] = {"body": "done", "statusCode": 200, "headers": []}
        update.update(more)
        return self.update(update)[0]

"""The requestor's side: sends commands to a command service and reads what became of them."""

import datetime
import http.client
import json
import urllib.parse

from support.processes import PATIENCE

LEGACY = "TetraScience.Connector.gdc.HttpRequest"
PLAIN = "TetraScience.Connector.http.Request"
V2 = "TetraScience.Connector.http.Request.V2"
TERMINAL = {"SUCCESS", "FAILURE", "REJECTED", "EXPIRED", "PURGED", "ERROR"}


def timestamp(seconds_ahead=0):
    when = datetime.datetime.now(datetime.timezone.utc)
    when += datetime.timedelta(seconds=seconds_ahead)
    return when.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class Requestor:
    def __init__(self, url, org, token, target_id):
        self.address = urllib.parse.urlsplit(url).netloc
        self.org = org
        self.token = token
        self.target_id = target_id

    def call(self, method, path, body=None, headers=None):
        """One HTTP exchange with the service: (status, parsed JSON or bytes)."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers={
                "x-org-slug": self.org, "ts-auth-token": self.token,
                "Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if "json" in answer.headers.get("Content-Type", ""):
            return answer.status, json.loads(content)
        return answer.status, content

    def submit(self, payload, action=PLAIN, **fields):
        """Stores a command and returns its record without waiting for its end."""
        command = {"targetId": self.target_id, "action": action, "expiresAt": timestamp(600),
                   "payload": payload, **fields}
        status, record = self.call("POST", "/v1/commands", command)
        assert status == 200, record
        return record

    def wait(self, command_id, seconds=120):
        """The record once its status is terminal."""
        step = min(seconds, 20)
        for _ in range(seconds // step):
            status, record = self.call("GET", f"/v1/commands/{command_id}?wait={step}")
            assert status == 200, record
            if record["status"] in TERMINAL:
                return record
        raise AssertionError(f"no end: {record}")

    def send(self, payload, action=PLAIN, **fields):
        return self.wait(self.submit(payload, action, **fields)["id"])

    def send_all(self, payloads, action=PLAIN, **fields):
        """All at once; the records in the order of the payloads."""
        ids = [self.submit(payload, action, **fields)["id"] for payload in payloads]
        return [self.wait(command_id) for command_id in ids]

    def stored_answer(self, record):
        """The answer of a record, wherever the service keeps it."""
        if "responseBodyUrl" not in record:
            return record["responseBody"]
        url = urllib.parse.urlsplit(record["responseBodyUrl"])
        status, content = self.call("GET", url.path + ("?" + url.query if url.query else ""))
        assert status == 200, content
        return content if isinstance(content, dict) else json.loads(content)


# What a record says, as the contract lays it down.

def answered(record, status="SUCCESS"):
    """The target's answer: {body, statusCode, headers}, perhaps with bodyEncoding."""
    assert record["status"] == status, record
    answer = record["responseBody"]
    assert set(answer) - {"bodyEncoding"} == {"body", "statusCode", "headers"}, answer
    assert isinstance(answer["body"], str)
    return answer


def failure_in(answer):
    """The {message, code} of an answer that says that there was none from the target."""
    assert set(answer) == {"body"}, answer
    error = json.loads(answer["body"])
    assert set(error) == {"message", "code"}, error
    return error


def failed(record):
    assert record["status"] == "FAILURE", record
    return failure_in(record["responseBody"])


def rejected(record):
    assert record["status"] == "REJECTED", record
    reason = record["responseBody"]
    assert set(reason) == {"message", "code"}, reason
    return reason


def headers_named(answer, name):
    """All values under that name: [] when there is none."""
    return [value for header in answer["headers"] for key, value in header.items() if key == name]

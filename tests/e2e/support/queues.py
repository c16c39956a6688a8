"""The SQS and S3 emulator, and those who talk to it besides the agent."""

import http.client
import json
import threading

from support.requestors import TERMINAL
from support.processes import PATIENCE, ROOT, Process, clean_environment

INSTALLED = ROOT / "build" / "emulator"
PROGRAM = ROOT / "tests" / "e2e" / "emulator" / "emulator.mjs"
BUCKET = "bodies"


class Emulator:
    """fauxqs. What it holds is gone when it is killed."""

    def __init__(self):
        self.port = 0
        self.process = None
        self.start()

    def start(self):
        assert INSTALLED.is_dir(), "the emulator is not installed: scripts/bootstrap test"
        self.process = Process(["node", str(PROGRAM), str(INSTALLED), str(self.port)],
                               env=clean_environment())
        self.port = int(self.process.wait_for(lambda line: line.startswith("port ")).split()[1])

    def kill(self):
        self.process.kill()

    def close(self):
        self.process.stop()


class Queues:
    """A client of an emulator that signs nothing: nobody there looks at it."""

    def __init__(self, port):
        self.port = port

    def exchange(self, method, path, content=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, content, headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.headers.items()), answer.read()
        finally:
            connection.close()

    def call(self, operation, **body):
        status, _, content = self.exchange("POST", "/", json.dumps(body).encode(), {
            "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS." + operation})
        assert status == 200, content
        return json.loads(content) if content else {}

    def create(self, name, **attributes):
        return self.call("CreateQueue", QueueName=name, Attributes={
            name: str(value) for name, value in attributes.items()})["QueueUrl"]

    def counts(self, url):
        """How many messages wait, and how many are with somebody."""
        found = self.call("GetQueueAttributes", QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return (int(found["ApproximateNumberOfMessages"]),
                int(found["ApproximateNumberOfMessagesNotVisible"]))

    # S3, as presigned URLs use it

    def object_url(self, key, host=None):
        self.exchange("PUT", f"/{BUCKET}")
        return f"http://{host or f'127.0.0.1:{self.port}'}/{BUCKET}/{key}?X-Amz-Signature=fake%2Bsigned"

    def put_object(self, key, content):
        url = self.object_url(key)
        status, _, _ = self.exchange("PUT", f"/{BUCKET}/{key}", content)
        assert status == 200
        return url

    def object(self, key):
        status, headers, content = self.exchange("GET", f"/{BUCKET}/{key}")
        assert status == 200, content
        return headers, content


class Inbox:
    """The platform's side of its queue: takes whatever comes, as it comes."""

    def __init__(self, queues, url):
        self.queues = queues
        self.url = url
        self.messages = []  # (bytes of the message, parsed)
        self.ended = {}  # command id -> how often
        self.stopping = threading.Event()
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        while not self.stopping.is_set():
            try:
                self._take()
            except (OSError, AssertionError, http.client.HTTPException, ValueError):
                self.stopping.wait(0.05)

    def _take(self):
        found = self.queues.call("ReceiveMessage", QueueUrl=self.url, MaxNumberOfMessages=10,
                                 WaitTimeSeconds=1).get("Messages", [])
        for message in found:
            self.queues.call("DeleteMessage", QueueUrl=self.url,
                             ReceiptHandle=message["ReceiptHandle"])
        with self._news:
            self.messages += [(message["Body"].encode(), json.loads(message["Body"]))
                              for message in found]
            for message in found:
                parsed = json.loads(message["Body"])
                if parsed["status"] in TERMINAL:
                    self.ended[parsed["commandId"]] = self.ended.get(parsed["commandId"], 0) + 1
            self._news.notify_all()

    def of(self, command_id):
        with self._news:
            return [parsed for _, parsed in self.messages if parsed["commandId"] == command_id]

    def wait_for(self, predicate, timeout=PATIENCE):
        with self._news:
            value = self._news.wait_for(predicate, timeout)
            assert value, self.messages
        return value

    def close(self):
        self.stopping.set()
        self._thread.join(PATIENCE)

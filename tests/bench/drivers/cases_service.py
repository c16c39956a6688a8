"""Cases: the command service itself, and the agent on it."""

import base64
import contextlib
import http.client
import json
import sqlite3
import ssl
import statistics
import subprocess
import time

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from drivers import relays
from drivers.cases_speed import Case
from drivers.figures import Figure, by_round, per_second, ratio
from drivers.place import KIB, body
from drivers.processes import BUILD, Failure, Process, Talker, environment

TARGETS = 10


class Service:
    """A command-service process on a database of its own, with tokens."""

    def __init__(self, place, db=None, tls=False):
        self.place, self.tls = place, tls
        self.folder = place.new_folder("service")
        self.db = db or self.folder / "commands.db"
        self.process = None

    def token(self, role, agent=None):
        words = [BUILD / "command-service", "token", "create", "--org", "bench", "--role", role,
                 "--db", self.db] + (["--agent", agent] if agent else [])
        done = subprocess.run(words, env=environment(), check=False, capture_output=True,
                              text=True)
        if done.returncode != 0:
            raise Failure(f"command-service token: {done.stderr}")
        return done.stdout.strip()

    def __enter__(self):
        port_file = self.folder / "port"
        words = [BUILD / "command-service", "serve", "--listen", "127.0.0.1:0", "--db", self.db,
                 "--port-file", port_file]
        if self.tls:
            words += ["--tls-cert", self.place.identity.certificate_file,
                      "--tls-key", self.place.identity.key_file]
        self.process = Process(words, self.folder / "log")
        deadline = time.monotonic() + 60
        while not (port_file.exists() and port_file.read_text().strip()):
            if time.monotonic() > deadline or not self.process.is_running():
                said = self.process.said()
                self.__exit__()
                raise Failure(f"command-service did not start: {said}")
            time.sleep(0.01)
        self.port = int(port_file.read_text())
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"
        self.requestor = self.token("requestor")
        return self

    def __exit__(self, *exc):
        with self.process:
            self.process.stop()

    def load(self, count, body_bytes=KIB, targets=1, connections=16):
        words = [BUILD / "bench-load", "--port", self.port, "--token", self.requestor,
                 "--url", self.place.nginx.url("1k"), "--key", self.place.key,
                 "--body-bytes", body_bytes, "--count", count, "--connections", connections,
                 "--targets", targets, "--tls", int(self.tls)]
        with Talker(words, self.folder / "load-log") as process:
            return process.hear("done", [self.process], seconds=120 + count // 500)

    @contextlib.contextmanager
    def client(self):
        """get(path) over one kept connection: parsed JSON."""
        if self.tls:
            context = ssl.create_default_context(cafile=self.place.ca.certificate_file)
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port)

        def get(path, method="GET"):
            connection.request(method, path, headers={"x-org-slug": "bench",
                                                      "ts-auth-token": self.requestor})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise Failure(f"{method} {path}: {answer.status} {content[:300]}")
            return json.loads(content)
        try:
            yield get
        finally:
            connection.close()

    def bytes(self):
        return sum(path.stat().st_size for path in self.db.parent.glob(self.db.name + "*"))


class Store(Case):
    name = "store"
    title = "command-service: 16 requestors in parallel store V2 commands of 1 KiB"
    together = "service and requestors share the processors"
    quick_rounds = 2

    def once(self, tls):
        count = self.count(30000, 4000)
        service = Service(self.place, tls=tls)
        with service:
            cpu = service.process.cpu_seconds()
            figures = service.load(count, targets=TARGETS)
            figures["service_us"] = (service.process.cpu_seconds() - cpu) * 1e6
        figures["bytes"] = service.bytes()
        return figures

    def round(self):
        return {"plain": self.once(False), "TLS": self.once(True)}

    def figures(self, rounds):
        def of(who, value):
            return by_round(rounds, who, value)
        return [
            Figure("stored, 16 requestors", "/s", of("plain", per_second), ("least", 5000),
                   best=True),
            Figure("stored, 16 requestors, TLS", "/s", of("TLS", per_second)),
            Figure("service's CPU per stored command", "µs",
                   of("plain", lambda seen: seen["service_us"] / seen["commands"])),
            Figure("a requestor waits, p99", "ms",
                   of("plain", lambda seen: seen["latency_us"]["p99"] / 1000)),
            Figure("bytes on disk per stored command", "B",
                   of("plain", lambda seen: seen["bytes"] / seen["commands"])),
            Figure("  of them its payload", "B", of("plain", lambda seen: seen["payload_bytes"])),
        ]


def columns(db, table):
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


def multiply(path, rows):
    """Copies what is stored into the past until there are so many commands: all tables that
    have a seq (the time of creation), so that the search has a database as years make it."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA synchronous=OFF")
        first, last, count = db.execute("SELECT min(seq), max(seq), count(*) FROM command") \
            .fetchone()
        span = last - first + 1
        for table in ("command", "request", "metadata"):
            names = columns(db, table)
            shifted = ", ".join(f"seq - {span} * copy.n" if name == "seq" else name
                                for name in names)
            db.execute(f"WITH RECURSIVE copy(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copy "
                       f"WHERE n < {rows // count - 1}) INSERT INTO {table} ({', '.join(names)}) "
                       f"SELECT {shifted} FROM {table} CROSS JOIN copy WHERE seq >= {first} "
                       "ORDER BY 1")
        db.commit()
        total = db.execute("SELECT count(*) FROM command").fetchone()[0]
        return total


class Search(Case):
    name = "search"
    title = "command-service: searches over 1,000,000 commands (--quick: over 50,000)"
    together = "nothing else runs"
    rounds = quick_rounds = 1
    TIMES = 15
    SEARCHES = {
        "newest 100": "",
        "one target": "targetId=bench-agent-3",
        "purged ones of a target": "targetId=bench-agent-0&status=PURGED",
        "metadata": "metadata.pipeline=42",
        "metadata, target and status": "metadata.pipeline=43&targetId=bench-agent-3&status=PENDING",
        "by expiry, ascending": "sortBy=expiresAt&sort=asc&status=PENDING",
        "changed lately": "sortBy=updatedAt&updatedAtAfter=2020-01-01T00:00:00Z",
    }

    def fill(self):
        rows = self.count(1_000_000, 50_000)
        service = Service(self.place)
        with service:
            service.load(10_000, targets=TARGETS)
            with service.client() as get:
                get("/v1/commands?targetId=bench-agent-0", "DELETE")
        return service.db, multiply(service.db, rows)

    def round(self):
        db, rows = self.fill()
        took = {}
        with Service(self.place, db) as service, service.client() as get:
            for name, query in self.SEARCHES.items():
                times = []
                for _ in range(self.TIMES):
                    began = time.monotonic()
                    hits = get(f"/v1/commands?{query}")["hits"]
                    times.append((time.monotonic() - began) * 1000)
                if not hits:
                    raise Failure(f"the search for {name} finds nothing")
                took[name] = (statistics.median(times), max(times))
        return {"rows": rows, "took": took}

    def figures(self, rounds):
        rows = rounds[0]["rows"]
        out = [Figure("commands", "", [one["rows"] for one in rounds])]
        slowest = [max(times[0] for times in one["took"].values()) for one in rounds]
        for name in self.SEARCHES:
            out.append(Figure(f"search: {name}", "ms", [one["took"][name][0] for one in rounds]))
        out.append(Figure("slowest search (medians)" if rows >= 1_000_000 else
                          "slowest search (medians), fewer commands", "ms", slowest, ("most", 50)))
        out.append(Figure("longest single search", "ms",
                          [max(times[1] for times in one["took"].values()) for one in rounds]))
        return out


class Real(Case):
    name = "real"
    title = "on command-service, over TLS, with a queue that was filled before (V2 of 1 KiB)"
    rounds, quick_rounds = 5, 1

    def check_answer(self, record):
        """What is measured is a relayed command: its answer opens and is the target's."""
        sealed = {name: base64.b64decode(value) for name, value in record["responseBody"].items()}
        answer = json.loads(AESGCM(bytes.fromhex(self.place.key)).decrypt(
            sealed["nonce"], sealed["ciphertext"] + sealed["tag"], None))
        if (record["status"], answer["statusCode"], answer["body"]) != ("SUCCESS", 200, body(KIB)):
            raise Failure(f"a command was not relayed as it should be: {answer}")

    def once(self, start):
        count = self.count(10000, 2000)
        with Service(self.place, tls=True) as service:
            token = service.token("agent", "bench-agent")
            last = service.load(count)["last"]
            began = time.monotonic()
            cpu = service.process.cpu_seconds()
            with start(service.url, token) as process, service.client() as get:
                while get(f"/v1/commands/{last}?wait=20")["status"] in ("PENDING", "PROCESSING"):
                    if not process.is_running():
                        raise Failure(process.ended())
                while get("/v1/commands?status=PENDING&status=PROCESSING&size=1")["hits"]:
                    time.sleep(0.002)
                took = time.monotonic() - began
                self.check_answer(get(f"/v1/commands/{last}"))
                return {"us": took * 1e6, "commands": count,
                        "cpu_us": process.cpu_seconds() * 1e6,
                        "service_us": (service.process.cpu_seconds() - cpu) * 1e6}

    def round(self):
        place = self.place
        return {"floor": self.once(lambda url, token: relays.floor(place, url, token=token)),
                "agent": self.once(lambda url, token: relays.agent(place, url, AUTH_TOKEN=token))}

    def figures(self, rounds):
        floor, agent = (Figure(f"{who}: commands, from exec", "/s",
                               by_round(rounds, who, per_second)) for who in rounds[0])
        cpu = [Figure(f"{who}: CPU per command, start included", "µs",
                      by_round(rounds, who, lambda seen: seen["cpu_us"] / seen["commands"]))
               for who in rounds[0]]
        service = by_round(rounds, "agent", lambda seen: seen["service_us"] / seen["commands"])
        return [floor, agent,
                ratio("agent / floor, commands per second, command-service", agent, floor), *cpu,
                Figure("command-service: CPU per command relayed", "µs", service)]


CASES = [Real, Store, Search]

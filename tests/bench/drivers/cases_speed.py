"""Cases: processor time, throughput, latency, calls, and what size and waiting cost."""

from drivers import relays
from drivers.figures import Figure, by_round, per_command, per_second, ratios
from drivers.place import KIB
from drivers.processes import BUILD

ALL_SHARE = "service, target and the program that is measured share the processors"


class Case:
    """round() measures each compared program once, one after the other; figures(rounds) makes
    the rows. rounds and quick_rounds are at most so many of what was asked for."""
    together = ALL_SHARE
    rounds = quick_rounds = None
    is_quick = True  # part of --quick
    needs = ()  # what else is to be built

    def __init__(self, place):
        self.place = place

    def count(self, full, quick):
        return quick if self.place.quick else full

    def relay(self, start, **service):
        place = self.place
        service = {"url": place.nginx.url("1k"), "key": place.key, "body_bytes": KIB, **service}
        return relays.relayed(place, start, **service)


class Cpu(Case):
    name = "cpu"
    title = "V2 of 1 KiB both ways, TLS to the service, batches of 10, up to 256 under way"

    def round(self):
        count = self.count(20000, 2000)
        # 256 is MAX_IN_FLIGHT: to the agent the queue never runs dry.
        service = {"window": 256, "warm": 500, "count": count}
        return {"limit": relays.limit(self.place, self.place.nginx.url("1k"), 10, 500, count),
                "floor": self.relay(relays.floor, **service),
                "agent": self.relay(relays.agent, **service)}

    def figures(self, rounds):
        cpu = {who: by_round(rounds, who, per_command("cpu_us")) for who in rounds[0]}
        speed = {who: by_round(rounds, who, per_second) for who in rounds[0]}
        return [
            Figure("limit: CPU per GET", "µs", cpu["limit"]),
            Figure("floor: CPU per command", "µs", cpu["floor"]),
            Figure("agent: CPU per command", "µs", cpu["agent"]),
            Figure("agent / floor, CPU", "", ratios(cpu["agent"], cpu["floor"]), ("most", 1.4),
                   is_ratio=True),
            Figure("limit: GETs", "/s", speed["limit"]),
            Figure("floor: commands", "/s", speed["floor"]),
            Figure("agent: commands (best round)", "/s", speed["agent"], ("least", 8000),
                   best=True),
            Figure("agent / floor, commands per second", "",
                   ratios(speed["agent"], speed["floor"]), ("least", 0.7), is_ratio=True),
        ]


class Latency(Case):
    name = "latency"
    title = "one command at a time, from its creation to its status, over a direct request"

    def round(self):
        count = self.count(3000, 500)
        service = {"window": 1, "batch": 1, "warm": 50, "count": count}
        return {"direct": relays.limit(self.place, self.place.nginx.url("1k"), 1, 50, count, KIB),
                "floor": self.relay(relays.floor, **service),
                "agent": self.relay(relays.agent, **service)}

    def figures(self, rounds):
        def took(who, part):
            return by_round(rounds, who, lambda figures: figures["latency_us"][part] / 1000)

        def added(who, part):
            return [a - b for a, b in zip(took(who, part), took("direct", part))]
        return [
            Figure("direct request, p50", "ms", took("direct", "p50")),
            Figure("direct request, p99", "ms", took("direct", "p99")),
            Figure("floor: added, p50", "ms", added("floor", "p50")),
            Figure("floor: added, p99", "ms", added("floor", "p99")),
            Figure("agent: added, p50", "ms", added("agent", "p50"), ("most", 0.5)),
            Figure("agent: added, p99", "ms", added("agent", "p99"), ("most", 3)),
        ]


def calls_per_command(figures):
    calls = figures["calls"]
    return sum(calls[kind] for kind in ("receive", "status", "extend", "upload", "other")) / \
        figures["commands"]


class Calls(Case):
    name = "calls"
    title = "calls of the service for each command"
    quick_rounds = 3
    WAYS = {"one at a time": {"window": 1, "batch": 1},
            "batches of 10": {"window": 10, "batch": 10},
            # As command-service: whatever is there, as soon as it is there.
            "64 in flight": {"window": 64, "batch": 100, "whole": 0}}
    GOALS = {"one at a time": 1 + 2 / 1, "batches of 10": 1 + 2 / 10, "64 in flight": 0.25}

    def round(self):
        count = self.count(3000, 500)
        return {way: self.relay(relays.agent, warm=100, count=count, **service)
                for way, service in self.WAYS.items()}

    def figures(self, rounds):
        return [Figure(f"calls per command, {way}", "", by_round(rounds, way, calls_per_command),
                       ("most", self.GOALS[way]), is_ratio=True) for way in self.WAYS]


class Beside(Case):
    name = "beside"
    title = "four other commands at a time while one of 10 MiB and one with an answer of 10 MiB " \
        "take turns"
    rounds, quick_rounds = 3, 1
    LARGE_BODY = {"plain": 8700 * KIB, "V2": 6500 * KIB}  # makes a command of just under 10 MiB

    def round(self):
        nginx = self.place.nginx
        service = {"window": 4, "batch": 10, "whole": 0, "warm": 50, "seconds": 300}
        out = {"alone": self.relay(relays.agent, count=self.count(2000, 500), **service)}
        service["count"] = self.count(1500, 120)
        for kind, size in self.LARGE_BODY.items():
            large = {"key": self.place.key if kind == "V2" else None, "large_bytes": size,
                     "large_post_url": nginx.url("1k"), "large_get_url": nginx.url("10m.json")}
            for who, start in (("agent", relays.agent), ("floor", relays.floor)):
                out[f"{who} {kind}"] = self.relay(start, **service, **large)
        return out

    def figures(self, rounds):
        def took(who, part):
            return by_round(rounds, who, lambda figures: figures["latency_us"][part] / 1000)

        def large(who):
            return by_round(rounds, who, lambda figures: figures["large"] / (figures["us"] / 1e6))
        out = [Figure("others alone, p99", "ms", took("alone", "p99"))]
        for kind in self.LARGE_BODY:
            out += [
                Figure(f"floor: others beside {kind}, p99", "ms", took(f"floor {kind}", "p99")),
                Figure(f"agent: others beside {kind}, p50", "ms", took(f"agent {kind}", "p50")),
                Figure(f"agent: others beside {kind}, p99", "ms", took(f"agent {kind}", "p99"),
                       ("most", 60)),
                Figure(f"floor: large ones meanwhile, {kind}", "/s", large(f"floor {kind}")),
                Figure(f"agent: large ones meanwhile, {kind}", "/s", large(f"agent {kind}"))]
        return out


class Waiting(Case):
    name = "waiting"
    title = "50 and 5,000 commands wait on a target that answers 2,000 a second"
    rounds, quick_rounds = 5, 2

    def round(self):
        count = self.count(6000, 2000)
        url = self.place.nginx.url("slow")
        return {str(waiting): self.relay(relays.agent, url=url, window=waiting, warm=warm,
                                         count=count)
                for waiting, warm in ((50, 200), (5000, 3000))}

    def figures(self, rounds):
        few = by_round(rounds, "50", per_command("cpu_us"))
        many = by_round(rounds, "5000", per_command("cpu_us"))
        return [
            Figure("CPU per finished command, 50 wait", "µs", few),
            Figure("CPU per finished command, 5,000 wait", "µs", many),
            Figure("5,000 / 50, CPU", "", ratios(many, few), ("most", 1.3), is_ratio=True),
            Figure("finished, 50 wait", "/s", by_round(rounds, "50", per_second)),
            Figure("finished, 5,000 wait", "/s", by_round(rounds, "5000", per_second)),
        ]


class Size(Case):
    name = "size"
    is_quick = False
    title = "how the cost grows with the size of body and answer, V2"
    rounds, quick_rounds = 3, 1
    SIZES = ((KIB, 10, 64, 4000), (10 * KIB, 10, 64, 2000), (100 * KIB, 10, 32, 600),
             (700 * KIB, 4, 8, 100))

    def round(self):
        out = {}
        for size, batch, window, count in self.SIZES:
            count = self.count(count, count // 10)
            service = {"url": self.place.nginx.large_file(size), "body_bytes": size,
                       "batch": batch, "window": window, "warm": window, "count": count}
            out[f"floor {size}"] = self.relay(relays.floor, **service)
            out[f"agent {size}"] = self.relay(relays.agent, **service)
        return out

    def figures(self, rounds):
        figures = []
        for size, *_ in self.SIZES:
            floor = by_round(rounds, f"floor {size}", per_command("cpu_us"))
            agent = by_round(rounds, f"agent {size}", per_command("cpu_us"))
            name = f"{size // KIB:,} KiB both ways"
            figures += [Figure(f"floor: CPU per command, {name}", "µs", floor),
                        Figure(f"agent: CPU per command, {name}", "µs", agent),
                        Figure(f"agent / floor, CPU, {name}", "", ratios(agent, floor))]
        return figures


class Journal(Case):
    name = "journal"
    title = "the journal (JOURNAL_SYNC=full) and none (a build that can do without)"
    quick_rounds = 2
    needs = (["BENCH=1", "build/bench/relay-agent"],)

    def round(self):
        def start(**settings):
            return lambda place, url: relays.agent(
                place, url, program=BUILD / "bench/relay-agent", **settings)
        service = {"window": 256, "warm": 500, "count": self.count(20000, 2000)}
        return {"none": self.relay(start(RELAY_BENCH_NO_JOURNAL=1), **service),
                "normal": self.relay(start(JOURNAL_SYNC="normal"), **service),
                "full": self.relay(start(), **service)}

    def figures(self, rounds):
        speed = {who: by_round(rounds, who, per_second) for who in rounds[0]}
        cpu = {who: by_round(rounds, who, per_command("cpu_us")) for who in rounds[0]}
        return [
            *(Figure(f"commands, journal {who}", "/s", speed[who]) for who in speed),
            *(Figure(f"CPU per command, journal {who}", "µs", cpu[who]) for who in cpu),
            Figure("full / none, commands per second", "", ratios(speed["full"], speed["none"]),
                   ("least", 0.7), is_ratio=True),
        ]


CASES = [Cpu, Latency, Calls, Beside, Waiting, Size, Journal]

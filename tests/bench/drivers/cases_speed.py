"""Cases: processor time, throughput, latency, calls, and what waiting costs."""

from drivers import relays
from drivers.figures import Figure, by_round, per_command, per_second, ratios
from drivers.place import KIB


class Cpu:
    """V2 of 1 KiB both ways, TLS to the service, batches of 10, a window of 64."""
    name = "cpu"
    title = "processor time and throughput, V2 of 1 KiB, TLS to the service, batches of 10"
    together = "service, target and the program that is measured share the processors"

    def __init__(self, place):
        self.place = place
        self.count = 3000 if place.quick else 20000
        self.service = {"url": place.nginx.url("1k"), "key": place.key, "body_bytes": KIB,
                        "warm": 500, "count": self.count}

    def round(self):
        place = self.place
        return {"limit": relays.limit(place, place.nginx.url("1k"), 10, 500, self.count),
                "floor": relays.relayed(place, relays.floor, **self.service),
                "agent": relays.relayed(place, relays.agent, **self.service)}

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
            Figure("agent: commands", "/s", speed["agent"], ("least", 8000), best=True),
            Figure("agent / floor, commands per second", "",
                   ratios(speed["agent"], speed["floor"]), ("least", 0.7), is_ratio=True),
        ]


CASES = [Cpu]

"""An agent whose clock runs faster than this machine's (libfaketime), for what takes minutes."""

import glob
import time

from support.agents import Agent

_LIBRARIES = sorted(glob.glob("/usr/lib/*/faketime/libfaketime.so.1"))


class FastClock:
    """Read by an agent from a file, so that it can be slowed down again while the agent runs."""

    def __init__(self, folder, speed):
        self.file = folder / "clock"
        self.speed = speed
        self.begun = time.monotonic()
        self.file.write_text(f"+0 x{speed}\n")

    def settings(self):
        assert _LIBRARIES, "libfaketime is missing (scripts/bootstrap test)"
        return {"LD_PRELOAD": _LIBRARIES[0], "FAKETIME_TIMESTAMP_FILE": self.file,
                "FAKETIME_CACHE_DURATION": 1}

    def agent(self, fake, **settings):
        fake.speed = self.speed
        self.begun = time.monotonic()
        return Agent({**fake.settings(POLL_WAIT_SECONDS=5, REQUEST_TIMEOUT_MS=300000), **self.settings(), **settings}).start()

    def slow_down(self, fake):
        """As fast as this machine's from now on; a few seconds are jumped over."""
        ahead = (time.monotonic() - self.begun) * (self.speed - 1)
        self.file.write_text(f"+{int(ahead) + self.speed * 3} x1\n")
        fake.speed = 1

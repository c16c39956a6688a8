"""Fixtures of the tests of TDP: `pytest_plugins = ["tdp_plugin"]` makes them known."""

import contextlib

import pytest

from support.queues import Emulator
from support.tdp_site import TdpSite


@pytest.fixture(scope="session")
def emulator():
    with contextlib.closing(Emulator()) as emulator:
        yield emulator


@pytest.fixture
def own_emulator():
    """One that a test may kill."""
    with contextlib.closing(Emulator()) as emulator:
        yield emulator


@pytest.fixture
def tdp(emulator):
    with contextlib.closing(TdpSite(emulator, VisibilityTimeout=600)) as site:
        yield site
        # Whoever names no operation is no agent of ours: it looks for a service of another test
        # that had this port before.
        refused = [call for call in site.gate.calls if call.operation
                   and ("Signature" in str(call.status) or "Missing" in str(call.status))]
        assert not refused, refused
        for agent in site.agents:
            for secret in site.platform.secrets() if agent.process else []:
                assert secret not in agent.log


@pytest.fixture
def tdp_site(emulator):
    """For a test with queues of its own kind."""
    sites = []

    def make(*args, **options):
        sites.append(TdpSite(emulator, *args, **options))
        return sites[-1]

    yield make
    for site in sites:
        site.close()

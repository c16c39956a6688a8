"""What the end-to-end tests of the agent share.

One command service, one agent and the targets run for the whole session; a test that needs
other settings starts an agent of its own on the same service (`start_agent`), under another
agent id, so that no two tests share a queue."""

import collections
import contextlib
import itertools
import ssl

import pytest

from service_fixtures import CommandService
from support.agents import Agent
from support.certificates import Certificates
from support.fake_service import FakeService
from support.processes import assert_no_report
from support.raw_target import RawTarget, SilentListener, closed_port
from support.requestors import Requestor
from support.targets import Httpbin, Nginx

ORG = "acme"
KEY = bytes(range(32))
OLD_KEY = bytes(range(32, 64))

Pair = collections.namedtuple("Pair", "agent requestor")
_agent_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def session_service(tmp_path_factory):
    service = CommandService(db=tmp_path_factory.mktemp("service") / "commands.db")
    service.start()
    yield service
    log = service.log()
    assert service.stop() == 0
    service.close()
    assert_no_report(log)


class Site:
    """Agents with requestors on one service."""

    def __init__(self, service, defaults):
        self.service = service
        self.defaults = defaults
        self.pairs = []
        self.requestors_token = None

    def settings_for(self, agent_id, **settings):
        return {"COMMAND_SERVICE_URL": self.service.url, "AGENT_ID": agent_id, "ORG_SLUG": ORG,
                "AUTH_TOKEN": self.service.create_token("agent", ORG, agent_id),
                **self.defaults, **settings}

    def requestor_for(self, agent_id):
        if self.requestors_token is None:
            self.requestors_token = self.service.create_token("requestor", ORG)
        return Requestor(self.service.url, ORG, self.requestors_token, agent_id)

    def pair(self, words=("run",), **settings):
        """An agent under an id of its own, not started, and who sends commands to it."""
        agent_id = f"agent-{next(_agent_numbers)}"
        agent = Agent(self.settings_for(agent_id, **settings), words)
        self.pairs.append(Pair(agent, self.requestor_for(agent_id)))
        return self.pairs[-1]

    def start(self, **settings):
        pair = self.pair(**settings)
        pair.agent.start()
        return pair

    def close(self):
        for pair in self.pairs:
            pair.agent.close()


@contextlib.contextmanager
def one_pair(service, settings):
    """For fixtures of a wider scope than one test."""
    site = Site(service, settings)
    yield site.start()
    site.close()


@pytest.fixture(scope="session")
def defaults(certificates):
    return {"SECURE_COMMAND_KEY": KEY.hex(), "CA_FILE": certificates.ca.certificate_file,
            "POLL_WAIT_SECONDS": 5}


@pytest.fixture(scope="session")
def relay(session_service, defaults):
    """The session's agent and requestor."""
    with one_pair(session_service, defaults) as pair:
        yield pair


@pytest.fixture(scope="session")
def agent(relay):
    return relay.agent


@pytest.fixture(scope="session")
def requestor(relay):
    return relay.requestor


@pytest.fixture
def site(session_service, defaults):
    """For a test's own agents on the session's service."""
    site = Site(session_service, defaults)
    yield site
    site.close()


@pytest.fixture
def own_service():
    """A service of the test's own, not started: it may be killed and started again."""
    with contextlib.closing(CommandService()) as service:
        yield service


@pytest.fixture
def fake():
    with contextlib.closing(FakeService()) as service:
        yield service


@pytest.fixture
def fake_agent(fake):
    """Starts agents on the fake service."""
    agents = []

    def start(**settings):
        agents.append(Agent(fake.settings(POLL_WAIT_SECONDS=1, **settings)).start())
        return agents[-1]

    yield start
    for agent in agents:
        agent.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def httpbin():
    with contextlib.closing(Httpbin()) as target:
        yield target


@pytest.fixture(scope="session")
def nginx(tmp_path_factory, certificates):
    with contextlib.closing(Nginx(tmp_path_factory.mktemp("nginx"), certificates.shown)) as target:
        yield target


@pytest.fixture(scope="session")
def raw():
    with contextlib.closing(RawTarget()) as target:
        yield target


@pytest.fixture(scope="session")
def other_raw():
    """The same host, another port: another host to credentials."""
    with contextlib.closing(RawTarget()) as target:
        yield target


@pytest.fixture(scope="session")
def raw_tls(certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    good = certificates.shown["good"]
    context.load_cert_chain(good.certificate_file, good.key_file)
    with contextlib.closing(RawTarget(context)) as target:
        yield target


@pytest.fixture(scope="session")
def refusing_port():
    holder, port = closed_port()
    yield port
    holder.close()


@pytest.fixture
def silent_port():
    listener = SilentListener()
    yield listener.port
    listener.close()

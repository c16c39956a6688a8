"""Fixtures of the service's tests: `pytest_plugins = ["service_plugin"]` makes them known. They
are apart from service_fixtures.py, so that plain imports of that do not hinder pytest."""

import itertools

import pytest

from service_fixtures import REPORT, CommandService, Site

ORGS = itertools.count(1)


@pytest.fixture
def service_factory():
    """Makes services (not started yet) that are stopped when the test ends. No memory checker
    may have complained about any of them."""
    made = []

    def make(*args, **options):
        made.append(CommandService(None, options.pop("db", None), *args, **options))
        return made[-1]

    yield make
    logs = ""
    for service in made:
        service.stop()
        logs += service.log()
        service.close()
    assert not REPORT.search(logs), logs


@pytest.fixture(scope="session")
def service_shared():
    """One running service for all tests that do nothing to the service itself."""
    service = CommandService().start()
    yield service
    status = service.stop()
    log = service.log()
    service.close()
    assert status == 0
    assert not REPORT.search(log), log


def talk(service, org):
    site = Site(service, org)
    yield site
    site.requestor.close()
    site.agent.close()


@pytest.fixture
def service_site(service_shared):
    """Tokens of an organisation of the test's own, on the shared service."""
    yield from talk(service_shared, f"org-{next(ORGS)}")


@pytest.fixture
def service_own_site(service_factory):
    """A running service of the test's own with an empty database, and tokens for it."""
    yield from talk(service_factory().start(), "acme")

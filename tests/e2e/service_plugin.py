"""Fixtures of the service's tests: `pytest_plugins = ["service_plugin"]` makes them known. They
are apart from service_fixtures.py, so that plain imports of that do not hinder pytest."""

import pytest

from service_fixtures import REPORT, CommandService, Site


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


@pytest.fixture
def service_site(service_factory):
    """A running service of the test's own with an empty database, and tokens for it."""
    site = Site(service_factory().start())
    yield site
    site.requestor.close()
    site.agent.close()

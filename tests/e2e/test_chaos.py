"""The short version of tests/e2e/chaos: everything dies at random moments; in the end each command
has one answer, and nothing that may have changed something was done twice."""

import random

import pytest

from support import chaos

pytestmark = pytest.mark.timing


def test_nothing_is_lost_or_done_twice_whatever_dies(own_service):
    seed = random.randrange(1 << 30)
    print(f"seed {seed}: tests/e2e/chaos --seed {seed} --commands 150 --kills 15 --service-kills 5 "
          "--cuts 15 --seconds 12")
    chaos.run(own_service, chaos.Settings(seed))


def test_nothing_is_lost_when_the_agent_is_stopped_again_and_again_under_load(own_service):
    seed = random.randrange(1 << 30)
    print(f"seed {seed}: tests/e2e/chaos --seed {seed} --commands 60 --kills 0 --sigterms 12 "
          "--service-kills 0 --cuts 0 --seconds 6")
    chaos.run(own_service, chaos.Settings(seed, commands=60, kills=0, sigterms=12, service_kills=0,
                                          cuts=0, seconds=6))

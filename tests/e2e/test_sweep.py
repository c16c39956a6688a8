"""A sample of tests/e2e/sweep: one system call of each kind fails, with each error that makes sense,
in the middle of a command's way."""

import pytest

from support import sweep
from support.tracer import can_trace

@pytest.mark.timing
@pytest.mark.skipif(not can_trace(), reason="strace may not trace here")
def test_one_system_call_that_fails_neither_loses_nor_repeats_anything():
    by_kind = {}
    for injection in sweep.injections():
        by_kind.setdefault((injection.call, injection.error), []).append(injection)
    sample = [found[len(found) // 2] for found in by_kind.values()]
    reached, failures = sweep.sweep(sample)
    print(f"{len(sample)} failures, {reached} reached")
    assert not failures, failures
    assert reached > len(sample) / 2

"""A sample of tests/e2e/sweep: one system call of each kind fails, with each error that makes sense,
in the middle of a command's way."""

import pytest

from support import sweep
from support.tracer import can_trace


def test_a_call_that_strace_writes_in_two_pieces_is_one(tmp_path):
    trace = tmp_path / "trace"
    trace.write_text('12 write(5<pipe:[1]>, "*", 1 <unfinished ...>\n'
                     '13  read(3</a>, "", 1) = 0\n'
                     '12 <... write resumed>) = -1 ENOSPC (INJECTED)\n'
                     '13 read(3</a>,  <unfinished ...>\n')
    assert list(sweep.whole_calls(trace)) == [
        ("13", 'read(3</a>, "", 1) = 0'),
        ("12", 'write(5<pipe:[1]>, "*", 1) = -1 ENOSPC (INJECTED)'),
        ("13", "read(3</a>,")]
    assert sweep.read_trace(trace) == {"write": [(1, True)], "read": [(1, False), (2, False)]}


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

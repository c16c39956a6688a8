"""strace, attached to an agent that runs: what it does is traced, and made to fail or to last."""

import contextlib
import subprocess

from support.processes import Process


def can_trace():
    """Whoever traces already (a debugger's sandbox) is in the way, and so may the kernel be
    (kernel.yama.ptrace_scope)."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as other, subprocess.Popen(
            ["strace", "-o", "/dev/null", "-p", str(other.pid)], stderr=subprocess.PIPE) as tracer:
        said = tracer.stderr.readline()
        other.stdin.close()
    return b"attached" in said


def attach(pid, trace, calls, *options):
    """Threads that it starts later are traced too. It ends with the process, or when it is
    stopped."""
    tracer = Process(["strace", "-f", "-y", "-s", "128", "-o", str(trace), "-e", "signal=none",
                      "-e", "trace=" + ",".join(calls), *options, "-p", str(pid)])
    tracer.wait_for(lambda line: "attached" in line)
    return tracer


@contextlib.contextmanager
def slow_syncs(agent, seconds):
    """Each sync of the agent takes so long, as on a disk that others keep busy."""
    tracer = attach(agent.process.popen.pid, "/dev/null", ["fdatasync"],
                    "-e", f"inject=fdatasync:delay_exit={int(seconds * 1e6)}")
    try:
        yield
    finally:
        tracer.stop()

"""A process and what it has started: found, weighed and ended together, on Linux by /proc and prctl.

Elsewhere a run's children are found by its process group alone, and a killed driver is noticed by its pipe alone.
"""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

__all__ = [
    "adopt_orphans",
    "children",
    "descendants",
    "die_with_parent",
    "end_descendants",
    "free_bytes",
    "offer_to_the_kernel",
    "reap",
    "resident_bytes",
]

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_MEMINFO = Path("/proc/meminfo")
_CGROUPS = (("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),)


def die_with_parent(parent: int) -> None:
    """This process is killed as soon as its parent, which has the id `parent`, ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def adopt_orphans() -> None:
    """What this process's descendants leave behind becomes its child, and not that of the system's first process."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def offer_to_the_kernel() -> None:
    """When the machine's memory runs out, this process goes first."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def descendants(pid: int) -> list[int]:
    """The children of a process, their children, and so on."""
    found, queue = [], [pid]
    while queue:
        started = children(queue.pop())
        found += started
        queue += started
    return found


def end_descendants(pid: int, group: int | None = None, seconds: float = 5.0) -> None:
    """Kills all that `pid` (this process) has started, whatever it starts meanwhile, and waits until it is gone."""
    end = time.monotonic() + seconds
    while True:
        if group is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        found = descendants(pid)
        for each in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(each, signal.SIGKILL)
        reap()
        if not found or time.monotonic() > end:
            return
        time.sleep(0.005)


def reap() -> None:
    """Takes leave of children that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def resident_bytes(pids: Iterable[int]) -> int:
    """Resident memory of processes together; pages that they share count for each."""
    total = 0
    for pid in pids:
        with suppress(OSError, ValueError, IndexError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return total * os.sysconf("SC_PAGE_SIZE")


def free_bytes() -> int | None:
    """Memory that a new process can have, by the machine and by this process's control group; None if unknown."""
    found = []
    with suppress(OSError, ValueError, StopIteration):
        lines = _MEMINFO.read_text().splitlines()
        found.append(int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024)
    for most, now in _CGROUPS:
        with suppress(OSError, ValueError):  # "max" where there is no limit
            found.append(int(Path(most).read_text()) - int(Path(now).read_text()))
    return max(0, min(found)) if found else None


def children(pid: int) -> list[int]:
    """The processes that `pid` has started and that are still there."""
    found: list[int] = []
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - ten times as fast, and asked often
            with suppress(OSError, ValueError):
                found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return found


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)

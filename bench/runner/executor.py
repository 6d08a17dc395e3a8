"""What an executor is, and how one is found by its name: where runs are carried out.

`local` and `inline` run on this machine (`workers`), `ray` on a Ray cluster. Others come as entry points of the group
`bench.executors`: a class that is made with `ExecutorOptions` and does what `Executor` says. It only has to run jobs
somewhere and say how each one ended: locks, records of what died, and what is tried again are the suite's.

Light to import: an executor may start what takes long before anything else is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bench.errors import UsageError, unknown_name
from bench.runner.limits import Limits

if TYPE_CHECKING:
    from bench.runner.jobs import Job
    from bench.runner.queue import JobQueue
    from bench.runner.run import Workplace

__all__ = ["Executor", "ExecutorOptions", "Finish", "How", "Progress", "make_executor"]

Progress = Callable[["Job", str, float], None]
How = Literal["ended", "stopped", "refused", "unusable", "lost", "timed-out", "out-of-memory"]
_GROUP = "bench.executors"
_OURS = {
    "local": "bench.runner.workers:LocalProcesses",
    "inline": "bench.runner.workers:Inline",
    "ray": "bench.runner.ray_executor:RayExecutor",
}


@dataclass(frozen=True)
class ExecutorOptions:
    """What a command says about where and how its runs are carried out.

    Attributes:
        workers: runs at once.
        limits: of each run.
        address: of a cluster; None for one on this machine.
    """

    workers: int = 1
    limits: Limits = field(default_factory=Limits)
    address: str | None = None


@dataclass(frozen=True)
class Finish:
    """How a job ended, by its executor.

    Attributes:
        job: the job.
        how: `ended`: it wrote its record, or died; `stopped`: when asked, and can be taken up; `refused`: its
            journal does not fit; `unusable`: store or data cannot be used; `lost`: it was killed from outside, or
            its machine is gone: it is taken up again once; `timed-out`, `out-of-memory`: ended by its limits.
        why: for people.
    """

    job: Job
    how: How
    why: str = ""


class Executor(Protocol):
    """Runs jobs somewhere. What a run leaves is in the workplace's store when its finish comes back."""

    def run(self, queue: JobQueue, workplace: Workplace, progress: Progress) -> Iterator[Finish]:
        """Takes jobs from the queue as there is room, until none is left; says how each ended, as they end.

        Raises:
            KeyboardInterrupt: somebody asked to stop, and every run is kept where it is.
        """

    def close(self) -> None:
        """Gives back what it holds."""


def make_executor(name: str, options: ExecutorOptions) -> Executor:
    """The executor called `name`.

    Raises:
        UsageError: there is none, it cannot be imported, or it cannot work with these options.
    """
    known = {entry.name: entry.value for entry in entry_points(group=_GROUP)} | _OURS
    if name not in known:
        raise unknown_name("executor", name, known)
    module, _, attribute = known[name].partition(":")
    try:
        made: Any = getattr(import_module(module), attribute)(options)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"executor {name!r} cannot be used: {error}.") from None
    executor: Executor = made
    return executor

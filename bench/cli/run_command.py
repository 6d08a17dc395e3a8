"""`bench run`, and `bench plan`, which takes the same options and runs nothing."""

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.options import (
    DEFAULT_STORE,
    DataOption,
    EntityOption,
    ProjectOption,
    StoreOption,
    names_in,
    with_options,
)
from bench.data.folder import data_folder

if TYPE_CHECKING:
    from bench.runner.jobs import RunRequest

__all__ = ["plan", "run"]


@dataclass(frozen=True)
class Asked:
    """Which runs, and where their records are."""

    method: Annotated[
        list[str] | None, typer.Option("--method", help="Method, several with commas, or all.", show_default="hbfp")
    ] = None
    track: Annotated[
        list[str] | None, typer.Option("--track", help="Track, or a TOML file.", show_default="digits-lenet5")
    ] = None
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            help="Share of the dense network that stays: macs=0.5, params=0.1 (0 to 1), or auto (the method decides). "
            "May be given again.",
            show_default="the track's",
        ),
    ] = None
    seed: Annotated[list[int] | None, typer.Option("--seed", help="Seed; may be given again.", show_default="0")] = None
    claim: Annotated[
        list[str] | None,
        typer.Option(
            "--claim", help="A paper's number (bench list claims), with its training length, and `dense` trained alike."
        ),
    ] = None
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            help="All compute of a run, dense training included: 30ep (dense epochs; the dense recipe shrinks with it) "
            "or 600s.",
            show_default="the track's",
        ),
    ] = None
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto"
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE for every method that has it, METHOD.KEY=VALUE for one."),
    ] = None
    store: StoreOption = DEFAULT_STORE
    data: DataOption = None
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run again what failed.")] = False
    shard: Annotated[
        str | None,
        typer.Option("--shard", help="Only part K of N of the plan, such as 3/8: one command of a job array."),
    ] = None

    def request(self) -> "RunRequest":
        """The runs.

        Raises:
            UsageError: there is no such device.
        """
        from bench.runner.jobs import RunRequest, resolve_device

        return RunRequest(
            methods=names_in(self.method),
            tracks=names_in(self.track),
            targets=tuple(self.target or ()),
            seeds=tuple(dict.fromkeys(self.seed or ())),
            settings=tuple(self.set_ or ()),
            budget=self.budget,
            device=resolve_device(self.device),
            claims=names_in(self.claim),
        )


@with_options(Asked)
def run(
    asked: Asked,
    wandb: Annotated[
        str,
        typer.Option(
            help="auto, online, offline or off. auto: WANDB_MODE, else online with a key, else offline in STORE/wandb."
        ),
    ] = "auto",
    project: ProjectOption = None,
    entity: EntityOption = None,
    executor: Annotated[
        str,
        typer.Option(
            help="Where runs are carried out: local, a process each on this machine; inline, in the command's own "
            "process, for a debugger; ray, on a Ray cluster; or what another package brings."
        ),
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="With --executor ray: an existing cluster.", show_default="one on this machine")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, help="Runs at once, a process each; with several GPUs, worker i takes GPU i.")
    ] = 1,
    timeout: Annotated[
        str,
        typer.Option(
            help="Time of one run: 90s, 30min, 2h or none; auto: thirty times what its budget takes. Then timed-out."
        ),
    ] = "auto",
    memory: Annotated[
        str,
        typer.Option(
            help="Memory of one run: 800MB, 4GB or none; auto: nine tenths of what is free. Then out-of-memory."
        ),
    ] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, and run nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array of records and nothing else.")] = False,
) -> None:
    """Run methods on a track, on one budget, and keep their records.

    A bare `bench run` prunes LeNet-5 on handwritten digits with hbfp at all the track's targets, seed 0.
    """
    from bench.runner.executor import ExecutorOptions, make_executor
    from bench.runner.limits import Limits, parse_memory, parse_timeout

    limits = Limits(parse_timeout(timeout), parse_memory(memory))
    carries_out = make_executor("inline" if dry_run else executor, ExecutorOptions(workers, limits, address))
    with closing(carries_out):  # made first: it starts what takes long
        from bench.cli.session import Session

        data = data_folder(asked.data)
        session = Session(asked.store, data, wandb, carries_out, workers, as_json, project, entity)
        if dry_run:
            raise typer.Exit(session.plan(asked.request(), asked.shard, asked.retry_failed, as_json))
        raise typer.Exit(session.run(asked.request(), asked.retry_failed, as_json, asked.shard))


@with_options(Asked)
def plan(
    asked: Asked,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array: a run each, with its command.")] = False,
) -> None:
    """List the runs that `bench run` with the same options would carry out, and run nothing."""
    from bench.cli.session import Session

    session = Session(asked.store, data_folder(asked.data))
    raise typer.Exit(session.plan(asked.request(), asked.shard, asked.retry_failed, as_json))

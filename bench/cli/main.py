"""The command line: reads arguments, calls what does the work, prints what came of it. It holds no logic.

Torch, wandb and plotly are imported inside the commands, so that `bench --help` answers at once.
"""

import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.cli.best_command import best
from bench.cli.export_command import export
from bench.cli.new_track_command import new_track
from bench.cli.table_command import table
from bench.data.folder import data_folder
from bench.errors import BenchError, UsageError
from bench.records.text import json_ascii, json_text, plain

app = typer.Typer(
    help="A reproducible benchmark suite for neural-network pruning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
new = typer.Typer(help="Write the files that a plugin, or a track of your own, begins with.", no_args_is_help=True)
app.add_typer(new, name="new")

DEFAULT_STORE = Path("runs")
StoreOption = Annotated[Path, typer.Option("--store", help="Folder of the runs.")]
ProjectOption = Annotated[str | None, typer.Option(help="W&B project.", show_default="WANDB_PROJECT, else bench")]
EntityOption = Annotated[
    str | None, typer.Option(help="Whose W&B project.", show_default="WANDB_ENTITY, else the account's")
]
Names = Annotated[list[str] | None, typer.Option(help="Name, or several with commas; may be given again.")]
MethodsOption = Annotated[
    list[str] | None, typer.Option("--method", help="Method, several with commas, or all.", show_default="hbfp")
]
TracksOption = Annotated[
    list[str] | None, typer.Option("--track", help="Track, or a TOML file.", show_default="digits-lenet5")
]
TargetsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        help="Share of the dense network that stays: macs=0.5, params=0.1 (0 to 1), or auto (the method decides). "
        "May be given again.",
        show_default="the track's",
    ),
]
SeedsOption = Annotated[list[int] | None, typer.Option("--seed", help="Seed; may be given again.", show_default="0")]
ClaimsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--claim", help="A paper's number (bench list claims), with its training length, and `dense` trained alike."
    ),
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        "--budget",
        help="All compute of a run, dense training included: 30ep (dense epochs; the dense recipe shrinks with it) "
        "or 600s.",
        show_default="the track's",
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
RetryOption = Annotated[bool, typer.Option("--retry-failed", help="Run again what failed.")]
ShardOption = Annotated[
    str | None, typer.Option("--shard", help="Only part K of N of the plan, such as 3/8: one command of a job array.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="KEY=VALUE for every method that has it, METHOD.KEY=VALUE for one."),
]


def _names(values: list[str] | None) -> tuple[str, ...]:
    names = tuple(name for value in values or () for name in value.split(",") if name)
    return names or (("",) if values else ())  # a lone comma is a mistake, not a wish for the default


@app.command()
def run(
    method: MethodsOption = None,
    track: TracksOption = None,
    target: TargetsOption = None,
    seed: SeedsOption = None,
    claim: ClaimsOption = None,
    budget: BudgetOption = None,
    device: DeviceOption = "auto",
    store: StoreOption = DEFAULT_STORE,
    data: Annotated[
        Path | None, typer.Option(help="Data folder.", show_default="BENCH_DATA, else the user's cache")
    ] = None,
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
    retry_failed: RetryOption = False,
    shard: ShardOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, and run nothing.")] = False,
    set_: SetOption = None,
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
        from bench.cli.run_command import Session
        from bench.runner.jobs import RunRequest, resolve_device

        request = RunRequest(
            methods=_names(method),
            tracks=_names(track),
            targets=tuple(target or ()),
            seeds=tuple(dict.fromkeys(seed or ())),
            settings=tuple(set_ or ()),
            budget=budget,
            device=resolve_device(device),
            claims=_names(claim),
        )
        session = Session(store, data_folder(data), wandb, carries_out, workers, as_json, project, entity)
        if dry_run:
            raise typer.Exit(session.plan(request, shard, retry_failed, as_json))
        raise typer.Exit(session.run(request, retry_failed, as_json, shard))


@app.command()
def plan(
    method: MethodsOption = None,
    track: TracksOption = None,
    target: TargetsOption = None,
    seed: SeedsOption = None,
    claim: ClaimsOption = None,
    budget: BudgetOption = None,
    device: DeviceOption = "auto",
    store: StoreOption = DEFAULT_STORE,
    retry_failed: RetryOption = False,
    set_: SetOption = None,
    shard: ShardOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array: a run each, with its command.")] = False,
) -> None:
    """List the runs that `bench run` with the same options would carry out, and run nothing."""
    asked = (method, track, target, seed, claim, budget, device, store)
    run(*asked, retry_failed=retry_failed, shard=shard, dry_run=True, set_=set_, as_json=as_json)


@app.command("list")
def list_(
    what: Annotated[
        str, typer.Argument(help="methods, tracks, datasets, networks, claims, or a method: its settings.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what is installed."""
    from bench.cli.list_command import catalogue, catalogue_table, unusable
    from bench.records.console import make_console

    rows = catalogue(what)
    if as_json:
        print(json_text(rows))
    else:
        make_console().print(catalogue_table(what, rows))
    for complaint in unusable(what):
        print(f"not usable: {complaint}", file=sys.stderr)


@app.command()
def groups(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NETWORK...", help="Networks as in a track: resnet20, timm:NAME, torchvision:NAME, ..."),
    ],
    size: Annotated[
        str | None,
        typer.Option(help="Height and width of the images in pixels: 64, or 48x80.  [default: the network's]"),
    ] = None,
    channels: Annotated[int | None, typer.Option(min=1, help="Channels of an image.  [default: the network's]")] = None,
    classes: Annotated[int | None, typer.Option(min=1, help="Number of labels.  [default: the network's]")] = None,
    prunable: Annotated[
        list[str] | None, typer.Option(help="Pattern of layer names; may be given again.  [default: the network's]")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="Also prune a copy to this size by l1 norms, such as macs=0.5, and prove it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """Say what structured pruning can do with networks: prunable MACs, groups, and what is left out and why.

    Exit code 1 if a network cannot be built, counted or pruned at all, or misses a target.
    """
    from bench.cli.groups_command import as_json as values
    from bench.cli.groups_command import print_surveys, survey_of
    from bench.own.look import parse_size
    from bench.records.console import make_console

    targets = tuple(target or ())
    surveys = [
        survey_of(name, parse_size(size) if size else None, channels, classes, tuple(prunable or ()) or None, targets)
        for name in _names(names)
    ]
    if as_json:
        print(json_text(values(surveys)))
    else:
        print_surveys(surveys, make_console())
    raise typer.Exit(int(not all(each.fulfilled for each in surveys)))


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="RUN", help="Run id, the beginning of it or of its hash, or the path of a record.")
    ],
    store: StoreOption = DEFAULT_STORE,
    as_json: Annotated[bool, typer.Option("--json", help="Print the record.")] = False,
) -> None:
    """Show one run: result, layers, ledger, settings and the command that makes it again; of several, list them."""
    from bench.cli.tables import show_record, show_records
    from bench.records.console import make_console
    from bench.records.lookup import find_records

    records = [record for record, _ in find_records(name, store)]
    if as_json and len(records) == 1:
        print(json_ascii(records[0].to_json()), end="")
    elif as_json:
        print(json_ascii("[" + ",\n".join(record.to_json().rstrip() for record in records) + "]"))
    elif len(records) == 1:
        show_record(records[0], make_console())
    else:
        show_records(records, make_console())


@app.command()
def leaderboard(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("page"),
    store: StoreOption = DEFAULT_STORE,
    track: Annotated[
        list[str] | None, typer.Option(help="Only this track; may be given again.", show_default="all")
    ] = None,
    store_only: Annotated[
        bool, typer.Option("--store-only", help="Leave out the results that come with bench.")
    ] = False,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Draw every track's table and plot, from the store and the committed results, as a folder that opens from disk."""
    from bench.cli.both import draw_leaderboard

    page, said = draw_leaderboard(store, out, _names(track), store_only)
    print(said)
    if open_:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())


@app.command()
def report(
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("page"),
    store: StoreOption = DEFAULT_STORE,
    project: ProjectOption = None,
    entity: EntityOption = None,
) -> None:
    """Make the leaderboard a W&B report, or update the one made before; without an account, the page alone."""
    from bench.cli.both import all_evidence, all_records
    from bench.leaderboard.wandb_report.report import make_report
    from bench.tracking.mode import project_name

    where = project_name(project, os.environ)
    reported = make_report(*all_records(store), out, where, entity, evidence=all_evidence(store))
    print(reported.words())
    raise typer.Exit(int(reported.done == "failed"))


@app.command()
def sync(store: StoreOption = DEFAULT_STORE, project: ProjectOption = None, entity: EntityOption = None) -> None:
    """Upload a store's records to W&B, each once; what failed is tried again next time."""
    from bench.tracking.mode import online_mode
    from bench.tracking.sync import sync_store

    synced = sync_store(store, online_mode(os.environ), project, entity)
    print(synced.words())
    raise typer.Exit(int(not synced.complete))


@app.command()
def claims(
    names: Annotated[list[str] | None, typer.Argument(metavar="[CLAIM]...", help="Claims; default: all.")] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """Compare what papers claim with what was measured, from the store and the committed results."""
    from bench.cli.both import all_briefs
    from bench.cli.claims_command import print_verdicts
    from bench.leaderboard.verdicts.verdicts import as_json as values
    from bench.leaderboard.verdicts.verdicts import verdicts
    from bench.specs.claim import claim_names, load_claim

    asked = [load_claim(name) for name in names or claim_names()]
    found = verdicts(asked, all_briefs(store, {claim.track.name for claim in asked})[0])
    if as_json:
        print(json_text([values(verdict) for verdict in found]))
    else:
        print_verdicts(found)


@app.command()
def verify(
    name: Annotated[str, typer.Argument(metavar="RUN", help="Run id or its beginning, or the path of a record.")],
    measure_only: Annotated[
        bool, typer.Option("--measure-only", help="Only load the stored network and measure it.")
    ] = False,
    note: Annotated[
        bool, typer.Option("--note", help="Write beside the record that it was verified, for the leaderboard's badge.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    data: Annotated[
        Path | None, typer.Option(help="Data folder.", show_default="BENCH_DATA, else the user's cache")
    ] = None,
) -> None:
    """Run a record's spec again and compare: bitwise on the same kind of CPU, within a stated tolerance elsewhere."""
    from bench.checks.record.rerun import measure_again, run_again
    from bench.cli.run_command import plain_progress
    from bench.records.lookup import find_record

    record, folder = find_record(name, store)
    if measure_only:
        verdict = measure_again(record, folder / "network.safetensors", data_folder(data))
    else:
        verdict = run_again(record, data_folder(data), plain_progress(record.run_id))
    print(f"{record.run_id}: {verdict.words()}")
    if note:
        from bench.checks.record.note import write_note

        print(write_note(record, folder, verdict, measure_only))
    raise typer.Exit(0 if verdict.equal else 1)


@app.command()
def measure(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs whose networks are stored.")],
    store: StoreOption = DEFAULT_STORE,
    batch: Annotated[list[int] | None, typer.Option(help="Images at once.", show_default="1 and 64")] = None,
    seconds: Annotated[float, typer.Option(help="For each network, runtime and batch size.", min=0.01)] = 2.0,
    threads: Annotated[int, typer.Option(help="Of PyTorch and onnxruntime.", min=1)] = 1,
    quiet: Annotated[
        float | None,
        typer.Option("--quiet", help="Wait up to so many seconds for a quiet machine, and give up if it stays busy."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time stored networks again, in turns with their dense network, in PyTorch and, where installed, onnxruntime."""
    from bench.cli.measure_command import as_values, print_times
    from bench.own.export.load import stored
    from bench.own.export.timing import time_in_turns, wait_for_quiet

    if quiet is not None:
        wait_for_quiet(quiet)
    found = time_in_turns([stored(run, store) for run in dict.fromkeys(runs)], batch or [1, 64], seconds, threads)
    if as_json:
        print(json_text(as_values(found)))
    else:
        print_times(found)


@app.command()
def check(
    method: Annotated[str, typer.Argument(help="Method, several with commas, or all.")],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="With --results: records, or folders of them.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE.")] = None,
    network: Annotated[
        str | None, typer.Option(help="Of most checks.  [default: lenet5, or a small one that the method can run on]")
    ] = None,
    results: Annotated[
        bool,
        typer.Option(
            "--results",
            help="Recompute every derived number of finished records from manifest and network; report what differs.",
        ),
    ] = False,
    data: Annotated[Path | None, typer.Option(help="With --results: data folder, to measure accuracy again.")] = None,
) -> None:
    """Check a method against the contract, or records of it: do the numbers follow from manifest and network?"""
    if results != bool(files):
        raise UsageError("records are checked by: bench check METHOD --results FILE...")
    if results:
        from bench.checks.record.audit import check_results

        folder = data_folder(data)
        raise typer.Exit(check_results(method, files or [], folder if folder.is_dir() else None))
    from bench.checks.method.kit import check_methods

    raise typer.Exit(check_methods(_names([method]), tuple(set_ or ()), network))


@app.command()
def compare(
    names: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Run ids, their beginnings, or records.")],
    store: StoreOption = DEFAULT_STORE,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Hold runs against each other: what differs, results with intervals, ledgers and layers side by side."""
    from bench.leaderboard.compare.compare import compare_runs
    from bench.leaderboard.compare.compare_text import as_json as values
    from bench.leaderboard.compare.compare_text import print_comparison
    from bench.records.lookup import find_record

    comparison = compare_runs([find_record(name, store)[0] for name in names])
    if as_json:
        print(json_text(values(comparison)))
    else:
        print_comparison(comparison)


@app.command()
def gate(
    baseline: Annotated[Path, typer.Option(help="Folder of records to hold the store against.")],
    store: StoreOption = DEFAULT_STORE,
    track: Annotated[list[str] | None, typer.Option(help="Only these tracks.", show_default="all")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Only these methods.", show_default="all")] = None,
    margin: Annotated[
        float,
        typer.Option(help="Drop in top-1, in points, that is always accepted; up to --limit it fails if significant."),
    ] = 1.0,
    limit: Annotated[float, typer.Option(help="Drop in top-1, in points, that always fails.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of Markdown.")] = False,
) -> None:
    """Hold a store against a baseline, for CI: exit code 1 if sizes changed, accuracy fell, or nothing was compared."""
    from bench.leaderboard.compare.gate import Rule, run_gate
    from bench.leaderboard.compare.gate_text import as_json as values
    from bench.leaderboard.compare.gate_text import as_markdown

    found = run_gate(baseline, store, Rule(margin, limit), _names(track), _names(method))
    print(json_text(values(found)) if as_json else as_markdown(found), end="\n" if as_json else "")
    raise typer.Exit(0 if found.holds else 1)


@app.command()
def doctor(
    store: StoreOption = DEFAULT_STORE,
    data: Annotated[
        Path | None, typer.Option(help="Data folder.", show_default="BENCH_DATA, else the user's cache")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """Look at this machine: installation, devices and their speed, data sets, W&B, disk, and what to do about each.

    Exit code 1 if something stands in the way of a run.
    """
    from bench.cli.doctor_command import examine, print_findings

    found = list(examine(store, data_folder(data), os.environ))
    if as_json:
        print(json_text([finding.as_json() for finding in found]))
    else:
        print_findings(found)
    raise typer.Exit(int(any(finding.state == "broken" for finding in found)))


@new.command("method")
def new_method(
    name: Annotated[str, typer.Argument(help="What --method will call it.")],
    kind: Annotated[str, typer.Option(help="structured or unstructured.")] = "structured",
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Folder of a package of its own; default: this checkout of bench.")
    ] = None,
) -> None:
    """Write a method that works, and its test, to begin from."""
    from bench.cli.new_command import new_method as write

    made = write(name, kind, folder)
    print("\n".join(["wrote", *(f"  {path}" for path in made.paths), "next", *(f"  {each}" for each in made.commands)]))


new.command("track")(new_track)
app.command()(best)
app.command()(export)
app.command()(table)


@app.callback()
def _output(context: typer.Context) -> None:
    """A reproducible benchmark suite for neural-network pruning."""
    from bench.records.console import safe_output

    context.with_resource(safe_output())  # until the command ends: what typer says of its options comes after it


def main(arguments: list[str] | None = None) -> Any:
    """Entry point of the `bench` command. Exit codes: 0 all ok, 1 a run failed, 2 wrong usage."""
    try:
        app(arguments, standalone_mode=True)
    except BenchError as error:
        print(f"bench: {plain(str(error))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("bench: interrupted. The same command goes on with what is not done.", file=sys.stderr)
        sys.exit(130)

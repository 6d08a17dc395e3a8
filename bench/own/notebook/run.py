"""`bench.prune`, `bench.compare`, `bench.groups`: the command line's runs, on a network and images that are in memory.

A call writes what `bench new track` would write, into `STORE/notebook/`, and then does what `bench run` does: the same
plan, dense network and budget, the same record in the same store. A track that is there already is used again, so that
its budget does not change with a second look at the device's speed.
"""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.own.notebook.images import source_of
from bench.own.notebook.progress import LiveProgress
from bench.own.notebook.results import Comparison, GroupList, Records, Result

if TYPE_CHECKING:
    from torch import nn

__all__ = ["compare", "groups", "prune", "records"]


def prune(
    network: "nn.Module",
    method: str = "l1",
    *,
    train: Any,
    test: Any = None,
    target: str = "macs=0.5",
    budget: str | None = None,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    size: tuple[int, int] | None = None,
    store: "str | Path" = "runs",
    device: str = "auto",
    progress: bool = True,
) -> Result:
    """Prunes a trained network by one method, on the budget that every method gets.

    Args:
        network: trained; it is not changed.
        method: a name from `bench list methods`.
        train: a folder with a folder of images for each class, an `.npz` file, a torch `Dataset` or `DataLoader` of
            images that are not normalised, or a pair of arrays (images, labels).
        test: likewise; None where `train` is split already, or is to be split.
        target: share of the dense network that stays, such as `macs=0.5`.
        budget: `2ep` (dense epochs) or `60s`; None for a proposal from the data's size and the device's speed.
        seed: fixes everything that is drawn.
        settings: of the method, by name.
        size: (height, width) that images are given in; None for the size that all have.
        store: folder of the runs.
        device: `auto`, `cpu` or `cuda`.
        progress: show how far the runs are, in a notebook or on a terminal.

    Returns:
        The run: `.network`, `.record`, `.curve`, `.export()`.

    Raises:
        UsageError, DataError: something cannot be used; the text says what, why and what to do.
        BenchError: the run left no record.
    """
    made = compare(
        network,
        [method],
        train=train,
        test=test,
        target=target,
        budget=budget,
        seeds=(seed,),
        settings=settings,
        size=size,
        store=store,
        device=device,
        progress=progress,
    )
    return made.results[0]


def compare(
    network: "nn.Module",
    methods: Sequence[str],
    *,
    train: Any,
    test: Any = None,
    target: str = "macs=0.5",
    budget: str | None = None,
    seeds: Sequence[int] = (0,),
    settings: Mapping[str, Any] | None = None,
    size: tuple[int, int] | None = None,
    store: "str | Path" = "runs",
    device: str = "auto",
    progress: bool = True,
) -> Comparison:
    """Prunes a trained network by several methods, on one budget; see `prune` for the arguments.

    Args:
        methods: names; settings go to every method that has them, `METHOD.KEY` to one.
        seeds: of the runs.

    Returns:
        The records, with `.results`, `.best` and `.frame()`.
    """
    import torch

    from bench.errors import BenchError
    from bench.records.store import Store
    from bench.runner.jobs import RunRequest, plan, resolve_device
    from bench.runner.run import Workplace
    from bench.runner.suite import check, run_suite
    from bench.runner.workers import Inline

    if not isinstance(network, torch.nn.Module):
        raise UsageError(f"network is a {type(network).__name__}: give a torch.nn.Module.")
    root = Path(store)
    path = _track_file(network, source_of(train, test), size, root, resolve_device(device))
    request = RunRequest(
        methods=tuple(methods),
        tracks=(str(path),),
        targets=(target,),
        seeds=tuple(seeds),
        settings=tuple(f"{key}={value}" for key, value in (settings or {}).items()),
        budget=budget,
        device=resolve_device(device),
    )
    workplace = Workplace(Store(root), root)
    made = plan(request, workplace.inputs)
    check(made.jobs, workplace)
    shown, found, missing = LiveProgress(len(made.jobs), progress), {}, []
    try:
        for outcome in run_suite(made.jobs, workplace, Inline(), shown.update):
            shown.finished(outcome.job, outcome.record)
            if outcome.record is None:
                missing.append(f"{outcome.job.label}: {outcome.error}")
            else:
                found[outcome.job.spec.run_id] = outcome.record
    finally:
        shown.close()
    if missing:
        raise BenchError("; ".join(missing))
    ordered = tuple(found[job.spec.run_id] for job in made.jobs)
    return Comparison(ordered, store=root, into=network, left_out=tuple(unfit.reason for unfit in made.left_out))


def groups(network: "nn.Module", shape: Sequence[int]) -> GroupList:
    """The channel groups that can be pruned, and what cannot be and why.

    Args:
        network: any; it is not changed.
        shape: of one image, (channels, height, width).

    Raises:
        NotPrunable: nothing can be; the text says why.
    """
    from bench.surgery.trace import trace_groups

    if len(shape) != 3:
        raise UsageError(f"shape {tuple(shape)}: give (channels, height, width) of one image.")
    channels, height, width = map(int, shape)
    found = trace_groups(network, (channels, height, width), ("*",))
    return GroupList(tuple(found), found.left_out)


def records(store: "str | Path" = "runs") -> Records:
    """All records of a store, with `.frame()`; those that cannot be read are in `.unreadable`."""
    from bench.records.store import read_records

    found, unreadable = read_records(Path(store))
    return Records(tuple(found), tuple(each.reason for each in unreadable))


def _track_file(network: "nn.Module", images: str, size: tuple[int, int] | None, store: Path, device: Any) -> Path:
    """The track of a network and images: written once, with the network's weights beside it."""
    from bench.networks.live import hand_over_network
    from bench.own.propose import TrackRequest, propose
    from bench.own.track_file import write_track
    from bench.surgery.architecture import save_network

    name = hand_over_network(network)
    about = hashlib.sha256(f"{name} {images} {size} {device}".encode()).hexdigest()[:6]
    label = "".join(c if c.isalnum() else "-" for c in type(network).__name__.lower())
    folder = (store / "notebook").resolve()
    path = folder / f"{label}-{about}.toml"
    if path.exists():
        return path
    from bench.records.store import write_atomically

    weights = f"{name.partition(':')[2]}.safetensors"
    write_atomically(folder / weights, lambda temporary: save_network(network, temporary, {"network": name}))
    try:
        made = propose(TrackRequest(path.stem, name, images, weights, size, None, device, folder), say=_warn)
    except BaseException:
        (folder / weights).unlink(missing_ok=True)
        raise
    write_track(made, path)
    return path


def _warn(text: str) -> None:
    """What a notebook should know of what was found: that the weights do no better than guessing, say."""
    if text.startswith("warning: "):
        warnings.warn(text.removeprefix("warning: "), stacklevel=2)

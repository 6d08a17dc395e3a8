"""The dense network of a track and seed: one for all methods and, once it is committed, for all machines.

It is looked for among the committed ones first, then in the store; else it is trained with the track's recipe and kept
in the store (`bench.runner.dense_files` says how it lies there). Its key does not depend on the processor: whatever
machine trained it, it is the network of that track and seed, and the record says which one that was.

Observers only read, so that the weights do not depend on them. When a method brings an observer that did not watch, the
network is trained again with it and must come out bitwise equal where the first training was on such a processor too.
Elsewhere the history is of this machine's training, which the record says.

What a power cut left damaged in the store is trained again, which is said; a committed network is never replaced.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from bench.data.splits import Data
from bench.errors import BenchError, StoreError
from bench.measure.network import tensors_sha256
from bench.networks.base import Network
from bench.networks.weights import load_weights
from bench.records.lookup import committed_results
from bench.records.record import Point, Spent
from bench.records.store import Store
from bench.runner.dense_files import DenseMeta, ObserverRow, load_tensors, read_meta, save_tensors, write_meta
from bench.runner.dense_training import Trained, build, clear_checkpoint, flat_history, train_dense
from bench.runner.machines import add_machine, forget_machines, machine_here, machines_in
from bench.specs.budget import Amount
from bench.specs.changes import changed_inputs, flat, inputs_of
from bench.specs.code import definition_sha256
from bench.specs.digest import digest
from bench.specs.run import RunSpec
from bench.specs.track import deciding_fields
from bench.training.hooks import Epoch, History, Observation, Observer

__all__ = ["Dense", "build", "changed_since", "committed_dense", "dense_key", "dense_network", "dense_seconds"]

Report = Callable[[str, float], None]
_RECIPE = ("settings", "recipe", "prunable", "threads", "precision", "device")


@dataclass(frozen=True)
class Dense:
    """A trained dense network.

    Attributes:
        network: on the run's device, in evaluation mode; the caller's own copy.
        weights_sha256: of its tensors.
        spent: what its training cost.
        history: what the observers saw.
        curve: loss and validation accuracy by epoch.
        folder: where this machine keeps what it measures of it.
        source: where it was read; another folder where it is committed.
        key: its name.
        origin: `committed` or `store`.
        machines: on which it was trained.
        history_of_another: whether a part of the history is of a training that came out with other bits, here.
    """

    network: nn.Module
    weights_sha256: str
    spent: Amount
    history: History
    curve: tuple[Point, ...]
    folder: Path
    source: Path
    key: str
    origin: Literal["committed", "store"]
    machines: tuple[dict[str, Any], ...]
    history_of_another: bool = False

    def provenance(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "dense_sha256": self.weights_sha256,
            "dense_key": self.key,
            "dense_origin": self.origin,
            "dense_machines": list(self.machines),
            "dense_history_of_another_training": self.history_of_another,
        }


def committed_dense() -> Path:
    """The folder of the dense networks that are committed beside the results."""
    return committed_results() / "dense"


def dense_inputs(spec: RunSpec) -> dict[str, Any]:
    """Everything that the dense network depends on, the machine aside, as JSON values."""
    track = deciding_fields(spec.track.model_dump(mode="json"))
    inputs = {
        "protocol": spec.protocol,
        "network": spec.track.network,
        "settings": spec.track.settings,
        "network_sha256": spec.network_sha256,
        "weights_sha256": spec.weights_sha256,
        "data_sha256": spec.data_sha256,
        "data_fingerprint": spec.data_fingerprint,
        "threads": spec.track.threads,
        "precision": spec.precision,
        "device": spec.device,
    }
    if spec.track.weights is not None:  # nothing is drawn or trained
        return inputs
    return inputs | {"recipe": track["dense"], "prunable": track.get("prunable"), "seed": spec.seed}


def dense_key(spec: RunSpec) -> str:
    """The folder's name: readable, with a hash over `dense_inputs`."""
    return f"{_label(spec)}-{digest(dense_inputs(spec))[:12]}"


def changed_since(spec: RunSpec, store: Store) -> str | None:
    """Why the store's dense network of this track and seed is not this one's; None where it is, or there is none."""
    if (store.dense_folder(dense_key(spec)) / "dense.json").is_file():
        return None
    now = {**dense_inputs(spec), "sources": inputs_of(spec)["sources"]}
    for folder in sorted(store.dense_folder("").glob(f"{_label(spec)}-*")):
        try:
            meta = read_meta(folder)
        except StoreError:
            continue
        if meta is None:
            continue
        then = {**meta.inputs, "sources": {"network": meta.sources}}
        old, new = (flat({name: each.get(name) for name in _RECIPE}) for each in (then, now))
        found = changed_inputs(then, now, method=False)
        found += [f"track's {name}" for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
        if found:
            return f"{', '.join(found)} changed"
    return None


def dense_network(
    spec: RunSpec,
    plugin: Network,
    data: Data,
    store: Store,
    observers: Sequence[type[Observer]],
    report: Report,
    committed: Path | None = None,
) -> Dense:
    """The dense network for this run: committed, from the store, or trained now.

    Args:
        spec: gives track, seed, precision and device.
        plugin: makes the network.
        data: on the run's device.
        store: where dense networks are kept; one process trains, others wait for it.
        observers: whose history the run needs.
        report: told how far the training is.
        committed: folder of committed ones; None: `committed_dense()`.

    Raises:
        StoreError: what is committed cannot be read, or was edited.
        BenchError: training it again with other observers gave other weights.
    """
    key, given = dense_key(spec), spec.track.weights is not None
    observers = () if given else observers  # nothing is trained here, so that nothing is seen
    shared, own = (committed or committed_dense()) / key, store.dense_folder(key)
    with store.lock(key, waiting=lambda: report("waiting for the dense network", 0.0)):
        with _advice():
            first = read_meta(shared)
        kept = _intact(own, observers)
        missing = [each for each in observers if not _watched(first, each) and not _watched(kept, each)]
        if missing or (first is None and kept is None):
            kept = (
                _take(spec, plugin, data, own)
                if given
                else _train(spec, plugin, data, own, first or kept, kept, missing, report)
            )
    meta, folder = (first, shared) if first is not None else (kept, own)
    assert meta is not None
    network = build(plugin, data, spec.seed, fresh=not given)
    with _advice():
        tensors = load_tensors(folder / "weights.safetensors", meta.weights_sha256)
        history, of_another = _history(observers, (meta, folder), (kept, own))
        try:
            network.load_state_dict(tensors)
        except RuntimeError as error:
            raise StoreError(f"the dense network in {folder} is damaged: {error}.") from None
    return Dense(
        network=network.eval(),
        weights_sha256=meta.weights_sha256,
        spent=Amount(**meta.spent.model_dump()),
        history=history,
        curve=meta.curve,
        folder=own,
        source=folder,
        key=key,
        origin="committed" if folder == shared else "store",
        machines=meta.machines,
        history_of_another=of_another,
    )


@contextmanager
def _advice() -> Iterator[None]:
    """What is damaged where nothing may be put in its place."""
    try:
        yield
    except StoreError as error:
        raise StoreError(f"{error} Restore that folder, or delete it.") from None


def _intact(folder: Path, observers: Sequence[type[Observer]]) -> DenseMeta | None:
    """What the store's folder holds and is whole; what is not counts as not there, and is made again."""
    try:
        meta = read_meta(folder)
        if meta is not None:
            load_tensors(folder / "weights.safetensors", meta.weights_sha256)
    except StoreError as error:
        print(f"note: {error} It is trained again.", file=sys.stderr, flush=True)
        return None
    for each in observers:
        row = None if meta is None else meta.observers.get(each.name)
        if meta is None or row is None:
            continue
        try:
            load_tensors(folder / f"{each.name}.safetensors", row.sha256)
        except StoreError as error:
            print(f"note: {error} It is trained again, observed.", file=sys.stderr, flush=True)
            whole = {name: other for name, other in meta.observers.items() if name != each.name}
            meta = meta.model_copy(update={"observers": whole})
    return meta


def dense_seconds(spec: RunSpec, store: Store) -> float | None:
    """What training the run's dense network took; None where it is not there yet."""
    key = dense_key(spec)
    try:
        meta = read_meta(committed_dense() / key) or read_meta(store.dense_folder(key))
    except StoreError:
        return None
    return None if meta is None else meta.spent.device_seconds


def _label(spec: RunSpec) -> str:
    drawn = f"s{spec.seed}" if spec.track.weights is None else "given"
    label = f"{spec.track.dataset}-{spec.track.network}-{drawn}"
    return "".join(c if c.isalnum() or c in "-._" else "-" for c in label)[-100:]


def _watched(meta: DenseMeta | None, observer: type[Observer]) -> bool:
    """Whether this observer, as its source is now, watched the training."""
    row = None if meta is None else meta.observers.get(observer.name)
    return row is not None and row.source_sha256 == definition_sha256(observer)


def _take(spec: RunSpec, plugin: Network, data: Data, folder: Path) -> DenseMeta:
    """Keeps the network with the weights that the track gives: it cost nothing, and nothing watched it."""
    assert spec.track.weights is not None
    network = build(plugin, data, 0, fresh=False)
    load_weights(network, spec.track.at(spec.track.weights))
    taken = Trained(network.state_dict(), Amount(), (), History())
    meta = _meta(spec, taken, save_tensors(folder / "weights.safetensors", taken.tensors), (), {})
    write_meta(folder, meta)
    return meta


def _train(
    spec: RunSpec,
    plugin: Network,
    data: Data,
    folder: Path,
    before: DenseMeta | None,
    kept: DenseMeta | None,
    observers: Sequence[type[Observer]],
    report: Report,
) -> DenseMeta:
    """Trains the network and writes its folder, or adds the observers' history to the one that is there.

    Args:
        spec, plugin, data, observers, report: see `dense_network`.
        folder: in the store.
        before: the network as it was trained first, committed or in the store.
        kept: what the store's folder holds.
    """
    add_machine(folder, spec.device)
    trained = train_dense(spec, plugin, data, folder, observers, report)
    sha256, machines = tensors_sha256(trained.tensors), tuple(machines_in(folder))
    here = spec.device == "cpu" and before is not None and before.machines == machines == (machine_here("cpu"),)
    if before is not None and before.weights_sha256 != sha256 and here:
        raise BenchError(
            f"the dense network came out different when it was trained again with observers "
            f"{', '.join(each.name for each in observers)}. An observer must only read."
        )
    seen: dict[str, ObserverRow] = {
        each.name: ObserverRow(
            sha256=save_tensors(folder / f"{each.name}.safetensors", flat_history(trained.history, each)),
            source_sha256=definition_sha256(each),
            weights_sha256=sha256,
        )
        for each in observers
    }
    if kept is None:
        save_tensors(folder / "weights.safetensors", trained.tensors)
        meta = _meta(spec, trained, sha256, machines, seen)
    else:  # the weights stay those that other runs began with
        looks = tuple(each.epochs for each in trained.history.observations) or kept.looks
        meta = kept.model_copy(update={"observers": {**kept.observers, **seen}, "looks": looks})
    write_meta(folder, meta)
    clear_checkpoint(folder, observers)
    forget_machines(folder)
    return meta


def _meta(
    spec: RunSpec, trained: Trained, sha256: str, machines: tuple[dict[str, Any], ...], seen: dict[str, ObserverRow]
) -> DenseMeta:
    return DenseMeta(
        inputs=dense_inputs(spec),
        sources=dict(spec.sources.get("network", {})),
        weights_sha256=sha256,
        spent=Spent(**asdict(trained.spent)),
        curve=trained.curve,
        epochs=tuple((each.epochs, each.train_loss, each.learning_rate) for each in trained.history.epochs),
        looks=tuple(each.epochs for each in trained.history.observations),
        observers=seen,
        machines=machines,
    )


def _history(
    observers: Sequence[type[Observer]], first: tuple[DenseMeta, Path], second: tuple[DenseMeta | None, Path]
) -> tuple[History, bool]:
    """What the observers saw, and whether a part of it is of another training than the first."""
    meta, of_another = first[0], False
    looks = next((each.looks for each in (meta, second[0]) if each is not None and each.looks), ())
    seen: list[dict[str, Any]] = [{} for _ in looks]
    for each in observers:
        holder, folder = first if _watched(meta, each) else second
        assert holder is not None
        row = holder.observers[each.name]
        of_another |= row.weights_sha256 != meta.weights_sha256
        for key, tensor in load_tensors(folder / f"{each.name}.safetensors", row.sha256).items():
            index, _, name = key.partition("/")
            seen[int(index)].setdefault(each.name, {})[name] = tensor
    epochs = tuple(Epoch(*row) for row in meta.epochs)
    points = tuple(Observation(at, observed) for at, observed in zip(looks, seen, strict=True))
    return History(epochs, points), of_another

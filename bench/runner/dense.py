"""The dense network of a track and seed: trained once with the track's recipe, and shared by all methods.

    STORE/dense/KEY/weights.safetensors      as trained
    STORE/dense/KEY/OBSERVER.safetensors     what an observer saw, point by point
    STORE/dense/KEY/dense.json               the rest, written last: hash, cost, curve, observers

Observers only read, so that the weights do not depend on them. When a method brings an observer that did not watch,
the network is trained again with it, and must come out bitwise equal on a CPU.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.data.splits import Data
from bench.errors import BenchError, NotPrunable, StoreError
from bench.journal.checkpoint import FileCheckpoint
from bench.journal.training_state import TrainingSaver
from bench.measure.accuracy import measure_accuracy
from bench.measure.macs import count_macs
from bench.measure.network import tensors_sha256
from bench.networks.base import Network, NetworkSpec
from bench.networks.weights import file_sha256, load_weights
from bench.records.record import SCHEMA, Point
from bench.records.store import Store, write_atomically, write_text
from bench.seeding import generator, isolated
from bench.specs.budget import TRAINING, Amount
from bench.specs.run import RunSpec, digest, package_sha256
from bench.specs.track import Track
from bench.surgery import ChannelGroup
from bench.training.clock import Clock
from bench.training.hooks import Epoch, History, Observation, Observer
from bench.training.optimiser import Optimiser
from bench.training.trainer import Allowance, Trainer, autocast

__all__ = ["Dense", "build", "dense_key", "dense_network", "dense_seconds"]

_CURVE_POINTS = 40


@dataclass(frozen=True)
class Dense:
    """A trained dense network.

    Attributes:
        network: on the run's device, in evaluation mode; the caller's own copy.
        weights_sha256: of its tensors.
        spent: what its training cost.
        history: what the observers saw.
        curve: loss and validation accuracy by epoch.
        folder: where it is kept.
    """

    network: nn.Module
    weights_sha256: str
    spent: Amount
    history: History
    curve: tuple[Point, ...]
    folder: Path


def build(plugin: Network, data: Data, seed: int, fresh: bool = True) -> nn.Module:
    """A network for the data, on the data's device, channels last.

    Args:
        plugin: makes it.
        data: gives the images' shape, the classes and the device.
        seed: of the fresh weights.
        fresh: False for a network that is about to be given weights: it keeps those that its constructor gave it.
    """
    make = plugin.build if fresh else plugin.construct
    with isolated(seed, "initialise"):
        network = make(NetworkSpec.of(data.shape, data.classes))
    return network.to(data.device).to(memory_format=torch.channels_last)


def dense_key(spec: RunSpec, data: Data) -> str:
    """The folder's name: a hash over everything that the dense network depends on."""
    track = spec.track
    name = "".join(c if c.isalnum() or c in "-._" else "-" for c in f"{track.dataset}-{track.network}")[:80]
    if track.weights is not None:
        given = {
            "data": data.fingerprint,
            "network": track.network,
            "settings": track.settings,
            "weights": file_sha256(track.at(track.weights)),
            "images": track.images.model_dump(mode="json") if track.images else None,
            "threads": track.threads,
            "precision": spec.precision,
            "device_class": spec.device_class,
            "torch": torch.__version__,
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        }
        return f"{name}-given-{digest(given)[:12]}"
    parts = {
        "schema": SCHEMA,
        "data": data.fingerprint,
        "network": track.network,
        **({"settings": track.settings} if track.settings else {}),
        "prunable": track.prunable,
        "recipe": track.dense.model_dump(mode="json"),
        "seed": spec.seed,
        "threads": track.threads,
        "precision": spec.precision,
        "device_class": spec.device_class,
        "torch": torch.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
    return f"{name}-s{spec.seed}-{digest(parts)[:12]}"


def dense_network(
    spec: RunSpec,
    plugin: Network,
    data: Data,
    store: Store,
    observers: Sequence[type[Observer]],
    report: Callable[[str, float], None],
) -> Dense:
    """The dense network for this run, from the store or trained now.

    Args:
        spec: gives track, seed, precision and device class.
        plugin: makes the network.
        data: on the run's device.
        store: where dense networks are kept; one process trains, others wait for it.
        observers: whose history the run needs.
        report: told how far the training is.

    Raises:
        StoreError: what is stored cannot be read.
        BenchError: training it again with other observers gave other weights.
    """
    key = dense_key(spec, data)
    folder = store.dense_folder(key)
    with store.lock(key, waiting=lambda: report("waiting for the dense network", 0.0)):
        meta = _read_meta(folder)
        watched = meta["observers"] if meta is not None and "looks" in meta else ()
        missing = [each for each in observers if each.name not in watched]
        if spec.track.weights is not None:
            if meta is None:
                _take(spec.track, plugin, data, folder)
                meta = _read_meta(folder)
            observers = ()  # nothing was trained here, so that nothing was seen
        elif meta is None or missing:
            _train(spec, plugin, data, folder, meta, missing, report)
            meta = _read_meta(folder)
    assert meta is not None
    network = build(plugin, data, spec.seed, fresh=spec.track.weights is None)
    try:
        network.load_state_dict(load_file(folder / "weights.safetensors"))
        network.eval()
        found = tensors_sha256(network.state_dict())
        if found != meta["weights_sha256"]:
            raise ValueError("the weights' hash is not the one in dense.json")
        return Dense(
            network,
            found,
            Amount(**meta["spent"]),
            _load_history(folder, meta, observers),
            tuple(Point.model_validate(point) for point in meta["curve"]),
            folder,
        )
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"the dense network in {folder} is damaged: {error}. Delete that folder.") from None


def dense_seconds(spec: RunSpec, data: Data, store: Store) -> float | None:
    """What training the run's dense network took; None where it is not in the store yet."""
    try:
        meta = _read_meta(store.dense_folder(dense_key(spec, data)))
        return None if meta is None else float(meta["spent"]["device_seconds"])
    except (StoreError, KeyError, TypeError, ValueError):
        return None


def _take(track: Track, plugin: Network, data: Data, folder: Path) -> None:
    """Keeps the network with the weights that the track gives: it cost nothing, and nothing watched it."""
    assert track.weights is not None
    network = build(plugin, data, 0, fresh=False)
    load_weights(network, track.at(track.weights))
    tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    meta = {
        "weights_sha256": tensors_sha256(tensors),
        "spent": asdict(Amount()),
        "observers": [],
        "curve": [],
        "epochs": [],
    }
    _save(folder / "weights.safetensors", tensors)
    write_text(folder / "dense.json", json.dumps(meta, indent=1))


def _train(
    spec: RunSpec,
    plugin: Network,
    data: Data,
    folder: Path,
    before: dict[str, Any] | None,
    observers: Sequence[type[Observer]],
    report: Callable[[str, float], None],
) -> None:
    """Trains the network and writes its folder; with `before`, adds the observers' history to what is there."""
    network, recipe = build(plugin, data, spec.seed), spec.track.dense
    device = data.device
    assert recipe.epochs is not None
    allowance = Allowance(round(recipe.epochs * len(data.train)))
    macs = count_macs(network, data.shape).total
    groups = _groups(network, data, spec.track.prunable or plugin.prunable) if observers else ()
    spent, clock, curve = Amount(), Clock(device), list[Point]()
    every = max(1, int(recipe.epochs / _CURVE_POINTS))
    epoch_macs = TRAINING * macs * len(data.train)

    def stepped(images: int) -> None:
        cost = TRAINING * images * macs
        spent.add(Amount(steps=1, images_trained=images, macs=cost, device_seconds=clock.lap(wait=False)))

    def ended(epoch: Epoch) -> None:
        values: dict[str, float | None] = {
            "train_loss": epoch.train_loss,
            "learning_rate": epoch.learning_rate,
        }
        with clock.stopped():
            if round(epoch.epochs) % every == 0 or spent.images_trained >= allowance.images:
                with autocast(device, spec.precision):
                    batches = data.validation_batches()
                    values["top1_val"] = measure_accuracy(network, batches, data.classes).top1
            report("dense", min(1.0, spent.images_trained / allowance.images))
        curve.append(
            Point(
                phase="dense",
                epoch=epoch.epochs,
                spent=spent.macs / epoch_macs,
                values={**values, "macs": macs},
            )
        )

    trainer = Trainer(
        network, data, recipe, spec.precision, Optimiser(), groups=groups, on_step=stepped, on_epoch=ended
    )

    def books() -> dict[str, Any]:
        return {"spent": asdict(spent), "curve": [point.model_dump() for point in curve]}

    def restore(kept: Mapping[str, Any]) -> None:
        spent.__dict__.update(kept["spent"])
        curve[:] = [Point.model_validate(point) for point in kept["curve"]]
        clock.lap()

    names = ", ".join(sorted(each.name for each in observers))
    checkpoint = FileCheckpoint(folder / "checkpoint.safetensors", f"{package_sha256()} {names}")
    saver = TrainingSaver(checkpoint, books, restore)
    with isolated(spec.seed, "dense"):
        clock.lap()
        order, watching = generator(spec.seed, "dense order"), [each() for each in observers]
        history = trainer.train(allowance, order, observers=watching, saver=saver)
        spent.add(Amount(device_seconds=clock.lap()))
    tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    sha256 = tensors_sha256(tensors)
    if before is not None and before["weights_sha256"] != sha256 and device.type == "cpu":
        raise BenchError(
            f"the dense network came out different when it was trained again with observers "
            f"{', '.join(each.name for each in observers)}. An observer must only read."
        )
    for each in observers:
        _save(folder / f"{each.name}.safetensors", _flat(history, each))
    if before is None:
        _save(folder / "weights.safetensors", tensors)
    meta = before or {
        "weights_sha256": sha256,
        "spent": asdict(spent),
        "observers": [],
        "curve": [point.model_dump() for point in curve],
        "epochs": [[each.epochs, each.train_loss, each.learning_rate] for each in history.epochs],
    }
    if observers:
        watched = set(meta["observers"]) if "looks" in meta else set()  # caches from before observers saw points
        meta["observers"] = sorted(watched | {each.name for each in observers})
        meta["looks"] = [each.epochs for each in history.observations]
    text = json.dumps(meta, indent=1)
    write_text(folder / "dense.json", text)
    checkpoint.clear()


def _groups(network: nn.Module, data: Data, prunable: Sequence[str] | None) -> tuple[ChannelGroup, ...]:
    """The groups that observers see; none where the network offers none, which a method will be told."""
    from bench.surgery.trace import trace_groups  # see bench.surgery.surgery

    try:
        return tuple(trace_groups(network, data.shape, prunable))
    except NotPrunable:
        return ()


def _save(path: Path, tensors: dict[str, Tensor]) -> None:
    write_atomically(path, lambda temporary: save_file(tensors, temporary))


def _flat(history: History, observer: type[Observer]) -> dict[str, Tensor]:
    return {
        f"{index}/{name}": tensor.cpu().contiguous()
        for index, seen in enumerate(history.observed(observer))
        for name, tensor in seen.items()
    }


def _load_history(folder: Path, meta: dict[str, Any], observers: Sequence[type[Observer]]) -> History:
    looks = meta.get("looks", [])
    seen: list[dict[str, dict[str, Tensor]]] = [{} for _ in looks]
    for each in observers:
        for key, tensor in load_file(folder / f"{each.name}.safetensors").items():
            index, _, name = key.partition("/")
            seen[int(index)].setdefault(each.name, {})[name] = tensor
    epochs = tuple(Epoch(*row) for row in meta["epochs"])
    return History(epochs, tuple(Observation(at, observed) for at, observed in zip(looks, seen, strict=True)))


def _read_meta(folder: Path) -> dict[str, Any] | None:
    try:
        meta: dict[str, Any] = json.loads((folder / "dense.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"{folder / 'dense.json'} cannot be read: {error}. Delete the folder {folder}.") from None
    return meta

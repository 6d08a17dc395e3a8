"""Training a dense network with its track's recipe, watched, and taken up again where it was killed.

Where dense networks are kept and shared is `bench.runner.dense`'s.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.data.splits import Data
from bench.errors import NotPrunable
from bench.journal.checkpoint import FileCheckpoint
from bench.journal.training_state import TrainingSaver
from bench.measure.accuracy import measure_accuracy
from bench.measure.macs import count_macs
from bench.measure.precision import autocast
from bench.networks.base import Network, NetworkSpec
from bench.records.record import Point
from bench.seeding import generator, isolated
from bench.specs.budget import TRAINING, Amount
from bench.specs.run import RunSpec, package_sha256
from bench.surgery import ChannelGroup
from bench.training.clock import Clock
from bench.training.hooks import Epoch, History, Observer
from bench.training.optimiser import Optimiser
from bench.training.trainer import Allowance, Trainer

__all__ = ["Trained", "build", "clear_checkpoint", "flat_history", "train_dense"]

_CURVE_POINTS = 40


@dataclass(frozen=True)
class Trained:
    """A training that came to its end.

    Attributes:
        tensors: the network's, by name, on the CPU.
        spent: what it cost.
        curve: loss and validation accuracy by epoch.
        history: what the observers saw.
    """

    tensors: Mapping[str, Tensor]
    spent: Amount
    curve: tuple[Point, ...]
    history: History


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


def train_dense(
    spec: RunSpec,
    plugin: Network,
    data: Data,
    folder: Path,
    observers: Sequence[type[Observer]],
    report: Callable[[str, float], None],
) -> Trained:
    """Trains the network; while it does, a checkpoint lies in `folder`, which `clear_checkpoint` removes.

    Args:
        spec: gives track, seed, precision and device.
        plugin: makes the network.
        data: on the run's device.
        folder: for the checkpoint.
        observers: that watch.
        report: told how far the training is.
    """
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

    saver = TrainingSaver(_checkpoint(folder, observers), books, restore)
    with isolated(spec.seed, "dense"):
        clock.lap()
        order, watching = generator(spec.seed, "dense order"), [each() for each in observers]
        history = trainer.train(allowance, order, observers=watching, saver=saver)
        spent.add(Amount(device_seconds=clock.lap()))
    tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    return Trained(tensors, spent, tuple(curve), history)


def clear_checkpoint(folder: Path, observers: Sequence[type[Observer]]) -> None:
    """Removes the checkpoint of a training that came to its end and was kept."""
    _checkpoint(folder, observers).clear()


def flat_history(history: History, observer: type[Observer]) -> dict[str, Tensor]:
    """What an observer saw, as tensors by `POINT/NAME`."""
    return {
        f"{index}/{name}": tensor.cpu().contiguous()
        for index, seen in enumerate(history.observed(observer))
        for name, tensor in seen.items()
    }


def _checkpoint(folder: Path, observers: Sequence[type[Observer]]) -> FileCheckpoint:
    names = ", ".join(sorted(each.name for each in observers))
    return FileCheckpoint(folder / "checkpoint.safetensors", f"{package_sha256()} {names}")


def _groups(network: nn.Module, data: Data, prunable: Sequence[str] | None) -> tuple[ChannelGroup, ...]:
    """The groups that observers see; none where the network offers none, which a method will be told."""
    from bench.surgery.trace import trace_groups  # see bench.surgery.surgery

    try:
        return tuple(trace_groups(network, data.shape, prunable))
    except NotPrunable:
        return ()

"""`bench new track`: a track file from a network, its weights and images, after a look at all three.

Everything is tried before the file is written: the network is imported, built, given its weights, traced and measured.
So what cannot work says so here, and nothing is left behind.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.data.contents import contents
from bench.data.own import Parts, decoded, parts_of
from bench.data.stratify import stratified_draw
from bench.errors import DataError, NotPrunable, UncountedOperator, UsageError
from bench.measure.accuracy import measure_accuracy
from bench.measure.macs import count_macs
from bench.networks.base import NetworkSpec
from bench.networks.own import check_outputs
from bench.networks.registry import LIBRARIES, network
from bench.networks.weights import load_weights
from bench.own.look import Looked, channel_statistics, fits_in_memory, look, sampled, validation_images
from bench.own.recipe import Proposed, batch_size_for, propose_recipe, step_seconds
from bench.plugins.imported import is_import
from bench.seeding import isolated, use_threads
from bench.specs.track import Setting

__all__ = ["Proposal", "TrackRequest", "propose"]

_NORMALISATIONS: dict[str, dict[int, tuple[tuple[float, ...], tuple[float, ...]]]] = {
    "ImageNet's": {3: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))},
    "0.5": {1: ((0.5,), (0.5,)), 3: ((0.5,) * 3, (0.5,) * 3)},
    "none": {1: ((0.0,), (1.0,)), 3: ((0.0,) * 3, (1.0,) * 3)},
}
_TRIED = 2000  # images that a normalisation is tried on
_FEW_CHANNELS = 200  # of all groups together, below which a target is met within 5 % only


@dataclass(frozen=True)
class TrackRequest:
    """What a user has.

    Attributes:
        name: of the track and its file.
        network: `FILE.py:CLASS`, `package.module:function`, `timm:NAME`, or the name of a network of bench.
        images: a folder, an `.npz` file, or a function; see `bench.data.sources`.
        weights: file of trained weights; None to train the network in the track.
        size: (height, width) of an image; None for the one that all images have.
        settings: of the network's constructor, by name.
        device: where speed is measured.
        folder: where paths begin and the file goes.
    """

    name: str
    network: str
    images: str
    weights: str | None = None
    size: tuple[int, int] | None = None
    settings: Mapping[str, Setting] | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    folder: Path = Path()


@dataclass(frozen=True)
class Proposal:
    """What a track file says, and what was found on the way.

    Attributes:
        request: what was asked for.
        parts: the images, split.
        shape: of an image, (C, H, W).
        classes: names, or their number.
        streamed, held_out, validation: how images are taken; validation images, given or carved.
        mean, std, normalisation: by channel; whose they are.
        macs, params: of the network.
        top1: of the given weights on training images that are held out; None without weights.
        groups: widths by channel group.
        left_out: reasons by group; the first says why where there is no group at all.
        recipe: how to train.
        threads: of a run.
    """

    request: TrackRequest
    parts: Parts
    shape: tuple[int, int, int]
    classes: tuple[str, ...] | int
    streamed: bool
    validation: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalisation: str
    macs: int
    params: int
    top1: float | None
    groups: dict[str, int]
    left_out: dict[str, str]
    recipe: Proposed
    threads: int

    @property
    def class_count(self) -> int:
        """How many labels there are."""
        return self.classes if isinstance(self.classes, int) else len(self.classes)

    @property
    def floor(self) -> float:
        """Least validation top-1 of a dense network that something can be learnt from: half way up from guessing."""
        chance = 1 / self.class_count
        return round(chance + 0.5 * max(0.0, (self.top1 or 2 * chance) - chance), 2)

    @property
    def tolerance(self) -> float:
        """Allowed deviation from a target: 2 %, or 5 % where the widths are few whole numbers."""
        return 0.05 if sum(self.groups.values()) < _FEW_CHANNELS else 0.02


def propose(asked: TrackRequest, say: Callable[[str], None] = lambda _text: None) -> Proposal:
    """Looks at network, weights and images, and proposes a track.

    Args:
        asked: what there is.
        say: told what is found.

    Raises:
        UsageError, DataError: something cannot be used; the text says what, why and what to do.
    """
    parts = parts_of(asked.images, asked.folder)
    looked = look(parts)
    classes = parts.classes or _class_count(parts, asked.images)
    count = classes if isinstance(classes, int) else len(classes)
    size = _size(asked, looked)
    plugin = network(asked.network, asked.settings, asked.folder)
    shape, net = _built(plugin, size, looked, count)
    if asked.weights is not None:
        load_weights(net, asked.folder / asked.weights)
    total = len(parts.train.names) + len(parts.test.names)
    streamed = not fits_in_memory(total, shape)
    say(
        f"{total} images of {count} classes, {'x'.join(map(str, shape))} (channels x height x width), "
        f"{'streamed' if streamed else 'in memory'}"
    )
    pixels, labels = _verified(parts, shape, streamed)
    mean, std = channel_statistics(pixels)
    threads = min(2, torch.get_num_threads())
    batch = batch_size_for(len(parts.train.names))
    with use_threads(threads, "cpu"), isolated("new track"):
        net = net.to(asked.device).to(memory_format=torch.channels_last).eval()
        normalisation, top1 = "measured", None
        if asked.weights is not None:
            normalisation, mean, std, top1 = _normalisation(net, *_few_images(pixels, labels), count, (mean, std), say)
        macs, groups, left_out = _groups(net, shape)
        seconds = step_seconds(net, shape, batch)
    validation = parts.held_out or validation_images(len(parts.train.names), count)
    return Proposal(
        request=asked,
        parts=parts,
        shape=shape,
        classes=classes,
        streamed=streamed,
        validation=validation,
        mean=mean,
        std=std,
        normalisation=normalisation,
        macs=macs,
        params=sum(parameter.numel() for parameter in net.parameters()),
        top1=top1,
        groups=groups,
        left_out=left_out,
        recipe=propose_recipe(net, len(parts.train.names) - validation, seconds, batch, asked.weights is not None),
        threads=threads,
    )


def _verified(parts: Parts, shape: tuple[int, int, int], streamed: bool) -> tuple[Tensor, Tensor]:
    """Training pixels and labels, of up to 2,000 where not all are in memory; every image is decoded once.

    Raises:
        DataError: an image cannot be.
    """
    if streamed:
        for name, files in (("train", parts.train), ("test", parts.test)):
            contents(name, files)
        return sampled(parts.train, shape, 1.0)
    decoded(parts.test, shape, 1.0)
    return decoded(parts.train, shape, 1.0), parts.train.labels


def _class_count(parts: Parts, source: str) -> int:
    """From the labels, which must go from 0 on without a gap.

    Raises:
        DataError: they do not, or differ between the parts.
    """
    train, test = (sorted(set(files.labels.tolist())) for files in (parts.train, parts.test))
    if train[0] != 0 or train != list(range(len(train))) or len(train) < 2:
        raise DataError(
            f"images {source}: the training labels are {_short(train)}. Number the classes from 0 on, without a gap."
        )
    if other := sorted(set(test) - set(train)):
        raise DataError(
            f"images {source}: labels {_short(other)} are in test and not in train. Give both the same ones."
        )
    return len(train)


def _size(asked: TrackRequest, looked: Looked) -> tuple[int, int]:
    if asked.size is not None:
        return asked.size
    if looked.sizes > 1:
        height, width = looked.size
        raise UsageError(
            f"images {asked.images} are of {looked.sizes} sizes (most often {height}x{width}). Say what the network is "
            "given with --size HEIGHTxWIDTH: images are scaled until they cover it, and their centre is taken."
        )
    return looked.size


def _built(plugin: Any, size: tuple[int, int], looked: Looked, classes: int) -> tuple[tuple[int, int, int], nn.Module]:
    """The shape of an image and the network: of the images' own colours, or else of those that the network takes."""
    first: UsageError | None = None
    for channels in (1, 3) if looked.grey else (3, 1):
        spec = NetworkSpec(channels, size, classes)
        try:
            with torch.random.fork_rng(devices=[]):
                made = plugin.construct(spec)
            check_outputs(made, spec, plugin.name)
            return spec.shape, made
        except UsageError as error:
            first = first or error
    assert first is not None
    raise first


def _few_images(pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Up to 2,000 of the images, each class in proportion."""
    if len(labels) <= _TRIED:
        return pixels, labels
    places = stratified_draw(labels.tolist(), _TRIED, 0)[0]
    return pixels[places], labels[places]


def _normalisation(
    net: nn.Module,
    pixels: Tensor,
    labels: Tensor,
    classes: int,
    measured: tuple[tuple[float, ...], tuple[float, ...]],
    say: Callable[[str], None],
) -> tuple[str, tuple[float, ...], tuple[float, ...], float]:
    """The normalisation that the weights are most often right with: the images' own unless another is clearly so."""
    channels = pixels.shape[1]
    tried = {
        "measured": measured,
        **{name: each[channels] for name, each in _NORMALISATIONS.items() if channels in each},
    }
    top1 = {name: _top1(net, pixels, labels, classes, *values) for name, values in tried.items()}
    error = (0.25 / len(labels)) ** 0.5
    best = max(top1, key=lambda name: top1[name])
    clear = top1[best] > max(top1["measured"] + error, 1.5 / classes)  # not by luck, nor by guessing
    chosen = best if clear else "measured"
    say(
        "top-1 of the given weights on training images, by normalisation: "
        + ", ".join(f"{name} {value:.3f}" for name, value in top1.items())
        + f"; taken: {chosen}"
    )
    if top1[chosen] < 1.5 / classes:
        say(
            f"warning: guessing is right on {1 / classes:.3f} of the images. Are the labels those that the network was "
            "trained with? Folders are numbered in the order of their sorted names."
        )
    return chosen, *tried[chosen], top1[chosen]


def _top1(
    net: nn.Module, pixels: Tensor, labels: Tensor, classes: int, mean: Sequence[float], std: Sequence[float]
) -> float:
    from bench.data.splits import Normaliser

    device = next(net.parameters()).device
    normaliser = Normaliser(tuple(mean), tuple(std), device)
    batches = (
        (normaliser(pixels[first : first + 100].to(device)), labels[first : first + 100].to(device))
        for first in range(0, len(labels), 100)
    )
    return measure_accuracy(net, batches, classes).top1


def _groups(net: nn.Module, shape: tuple[int, int, int]) -> tuple[int, dict[str, int], dict[str, str]]:
    """MACs, widths by channel group, and the groups that cannot be offered, with reasons."""
    from bench.surgery.trace import trace_groups

    try:
        macs = count_macs(net, shape).total
    except UncountedOperator as error:
        raise UsageError(f"the network's cost cannot be counted: {error}") from None
    try:
        groups = trace_groups(net, shape, ("*",))
    except NotPrunable as error:
        return macs, {}, {"all": str(error)}
    return macs, groups.widths, {each.name: each.reason for each in groups.left_out}


def _short(values: Sequence[int]) -> str:
    shown = ", ".join(map(str, values[:8]))
    return shown + (f" ... {values[-1]}" if len(values) > 8 else "")


def checked_network(text: str) -> str:
    """`text`, if it can name a network.

    Raises:
        UsageError: it is a path without a class, for instance.
    """
    from bench.networks.registry import names

    if is_import(text) or text.startswith(tuple(LIBRARIES)) or text in names():
        return text
    hint = f"{text}:CLASS" if text.endswith(".py") else "FILE.py:CLASS"
    raise UsageError(
        f"--network {text!r} names no network. Write {hint}, package.module:function, timm:NAME, or one of "
        f"{', '.join(names())}."
    )

"""What tracing finds out about a network's tensors: which entries stand or fall together, and which have to stay.

Every entry along a dimension of a parameter or buffer has a number, its label. Tracing says which labels are tied
(a residual add ties two layers' rows), which are pinned (rows that are the network's outputs), where `forward`
splits a dimension, and what every product costs. Ties are only collected; `solve` joins them at the end.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

__all__ = ["Attribute", "Entry", "Factor", "Pin", "Product", "Solution", "Split", "Ties", "varying"]


@dataclass(frozen=True)
class Entry:
    """A dimension of a parameter or buffer whose entries have labels `first`, `first` + 1, ...

    Attributes:
        tensor: the parameter's or buffer's name.
        dim: the dimension.
        size: its length.
        first: the label of its entry 0.
    """

    tensor: str
    dim: int
    size: int
    first: int


@dataclass(frozen=True, eq=False)
class Pin:
    """Labels that have to stay, and why; `silent` where that is plain (the network's own outputs)."""

    labels: NDArray[np.int64]
    reason: str
    silent: bool


@dataclass(frozen=True, eq=False)
class Split:
    """Labels by the dimensions into which `forward` has split one; all parts have to lose the same.

    Attributes:
        labels: one axis a dimension.
        strict: whether the parts must also lose the same places (a view), not only as many (a chunk).
        blocks: whether whole rows go rather than the same places of every row, where nothing else decides.
        where: the module, for the reason.
    """

    labels: NDArray[np.int64]
    strict: bool
    blocks: bool
    where: str


@dataclass(frozen=True, eq=False)
class Attribute:
    """A number in a module that says how long a dimension is, as in `reshape(..., self.num_heads, ...)`.

    Attributes:
        module: the module's path.
        name: the attribute's name.
        item: its place where the attribute is a list or tuple, else None.
        labels: the labels of the tensor that it measures, all its labelled axes.
        axis: the axis whose length the attribute is.
        sure: whether no other number of the module, and no other axis, has the same value there.
    """

    module: str
    name: str
    item: int | None
    labels: NDArray[np.int64]
    axis: int
    sure: bool = True


@dataclass(frozen=True, eq=False)
class Factor:
    """One dimension of a product: its length, and the labels along it (0: none)."""

    length: int
    labels: NDArray[np.int64] | None


@dataclass(frozen=True, eq=False)
class Product:
    """The multiply-accumulates of one operation: a constant times the lengths of the dimensions that may change."""

    constant: int
    factors: tuple[Factor, ...]

    @property
    def macs(self) -> int:
        """At the widths of the trace."""
        return self.constant * int(np.prod([factor.length for factor in self.factors], dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Solution:
    """The components of all labels.

    Attributes:
        of: component by label; label 0 is no label.
        count: number of components.
        pinned: whether a component has to stay [count].
    """

    of: NDArray[np.int64]
    count: int
    pinned: NDArray[np.bool_]


@dataclass(eq=False)
class Ties:
    """Collects what a network's trace finds.

    Attributes:
        entries: the dimensions that have labels.
        pins: labels that have to stay.
        notes: what may make the removal of labels fail.
        blocks: labels of which several make one channel; they are pruned where they are asked for by name.
        splits: where `forward` splits a dimension.
        attributes: modules' numbers that may be lengths.
        products: what the operations cost.
        standardised: labels over which weights are standardised (ScaledStdConv2d).
        lengthless: names of parameters whose rows are divided by their own length (weight normalisation).
    """

    entries: list[Entry] = field(default_factory=list)
    pins: list[Pin] = field(default_factory=list)
    notes: list[Pin] = field(default_factory=list)
    blocks: list[Pin] = field(default_factory=list)
    splits: list[Split] = field(default_factory=list)
    attributes: list[Attribute] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)
    standardised: set[int] = field(default_factory=set)
    lengthless: set[str] = field(default_factory=set)
    _ends: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=list)
    _next: int = 1

    def new(self, tensor: str, dim: int, size: int) -> Tensor:
        """Labels [size] for a dimension of a parameter or buffer."""
        self.entries.append(Entry(tensor, dim, size, self._next))
        self._next += size
        return torch.arange(self._next - size, self._next, dtype=torch.int32)

    def tensor_of(self, label: int) -> str:
        """The name of the parameter or buffer that has a label."""
        place = bisect_right(self.entries, label, key=lambda entry: entry.first)
        return self.entries[place - 1].tensor

    def tie(self, a: Tensor, b: Tensor, where: str = "") -> None:
        """Ties the labels of `a` to those of `b`, which broadcast; one that meets no label is pinned."""
        if a.data_ptr() == b.data_ptr() and a.stride() == b.stride() and a.shape == b.shape:
            return
        left, right = (_flat(each) for each in _base(a, b))
        different = left != right
        left, right = left[different], right[different]
        both = (left > 0) & (right > 0)
        if both.any():
            self._ends.append((left[both], right[both]))
        if not both.all():
            alone = np.unique(np.maximum(left, right)[~both])
            self.pins.append(Pin(alone, f"{where}: it is joined with padding or a constant".removeprefix(": "), False))

    def pin(self, labels: Tensor, reason: str, silent: bool = False) -> None:
        """These labels have to stay."""
        self.pins.append(Pin(_unique(labels), reason, silent))

    def note(self, labels: Tensor, reason: str) -> None:
        """What may be the reason if the removal of these labels fails in the rehearsal."""
        self.notes.append(Pin(_unique(labels), reason, False))

    def block(self, labels: Tensor, reason: str) -> None:
        """Several of these labels make one channel."""
        self.blocks.append(Pin(_unique(labels), reason, False))

    def standardise(self, labels: Tensor) -> None:
        """Weights are standardised over these labels."""
        self.standardised.update(_unique(labels).tolist())

    def solve(self) -> Solution:
        """Joins what is tied; a split whose parts would lose different amounts is settled first.

        Returns:
            The components. Parts of a split that nothing else ties lose the same places of every part.
        """
        of = self._components()
        for _ in range(20):
            pinned = self._pinned(of)
            fresh = [ends for split in self.splits for ends in _settle(split, of, pinned)]
            if not fresh:
                return Solution(of, len(pinned), pinned)
            self._ends.extend(fresh)
            of = self._components()
        return Solution(of, len(self._pinned(of)), self._pinned(of))

    def _components(self) -> NDArray[np.int64]:
        if not self._ends:
            return np.arange(self._next)
        left, right = (np.concatenate(each) for each in zip(*self._ends, strict=True))
        self._ends = [(left, right)]
        graph = coo_matrix((np.ones(len(left), dtype=np.int8), (left, right)), shape=(self._next, self._next))
        return connected_components(graph, directed=False)[1].astype(np.int64)

    def _pinned(self, of: NDArray[np.int64]) -> NDArray[np.bool_]:
        pinned = np.zeros(of.max() + 1, dtype=bool)
        pinned[of[0]] = True
        for pin in self.pins:
            pinned[of[pin.labels]] = True
        return pinned


def varying(labels: Tensor) -> tuple[int, ...]:
    """The dimensions along which labels differ; they are kept with stride 0 along all others."""
    return tuple(
        d for d, (size, step) in enumerate(zip(labels.shape, labels.stride(), strict=True)) if step != 0 and size > 1
    )


def _base(*tensors: Tensor) -> list[Tensor]:
    """Tensors of one shape, without the dimensions along which none of them differs."""
    if all(each.dim() == 1 and each.shape == tensors[0].shape for each in tensors):
        return list(tensors)
    tensors = torch.broadcast_tensors(*tensors)
    keep = {d for each in tensors for d in varying(each)}
    for d in range(tensors[0].dim()):
        if d not in keep:
            tensors = tuple(each.narrow(d, 0, min(1, each.shape[d])) for each in tensors)
    return list(tensors)


def _flat(labels: Tensor) -> NDArray[np.int64]:
    return labels.reshape(-1).numpy().astype(np.int64)


def _unique(labels: Tensor) -> NDArray[np.int64]:
    found = np.unique(_flat(_base(labels)[0]))
    return found[found > 0]


def _settle(
    split: Split, of: NDArray[np.int64], pinned: NDArray[np.bool_]
) -> Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The ties that make a split's parts lose the same; none where they do already."""
    labels = split.labels
    found = of[labels]
    free = (labels > 0) & ~pinned[found]
    if not free.any() or len(varying_axes(found)) <= 1:
        return
    if not split.strict and _balanced(found):
        return
    for axis in varying_axes(found)[1:] if split.blocks else varying_axes(found)[:-1]:
        first = np.take(labels, [0], axis=axis)
        left, right = (each.reshape(-1) for each in np.broadcast_arrays(labels, first))
        both = (left > 0) & (right > 0)
        yield left[both], right[both]


def varying_axes(found: NDArray[np.int64]) -> Sequence[int]:
    """The axes along which an array is not constant."""
    return [axis for axis in range(found.ndim) if (found != np.take(found, [0], axis=axis)).any()]


def _balanced(found: NDArray[np.int64]) -> bool:
    """Whether every component has as many labels in each part (axis 0)."""
    parts = np.sort(found.reshape(len(found), -1), axis=1)
    return bool((parts == parts[:1]).all())

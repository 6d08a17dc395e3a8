"""MACs and parameters as exact functions of the channel groups' widths, without counting again.

Every dimension of a tensor or product is a fixed part plus, for each group that owns some of it, entries times width.
A product's MACs are its dimensions' lengths multiplied, a parameter's size likewise; so both amounts follow from the
widths alone. What no group changes is one fixed number.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["MEASURES", "Cost", "Measure", "Term", "TermTable"]

Measure = Literal["macs", "params"]
MEASURES: tuple[Measure, ...] = ("macs", "params")


@dataclass(frozen=True)
class Term:
    """A constant times the lengths of dimensions.

    Attributes:
        constant: the dimensions that no group changes, multiplied.
        factors: of each other dimension the fixed part and, by group, the entries a channel.
    """

    constant: int
    factors: tuple[tuple[int, tuple[int, ...]], ...]

    def at(self, widths: NDArray) -> int:
        """The term at one vector of widths [G]."""
        result = self.constant
        for fixed, entries in self.factors:
            result *= fixed + int(np.asarray(entries) @ widths)
        return result


@dataclass(frozen=True, eq=False)
class TermTable:
    """A sum of terms, T of them with at most F factors.

    Attributes:
        fixed: what no group changes.
        constants: [T] each term's constant.
        lengths: [F, T] the fixed part of each factor; 1 where a term has fewer.
        entries: [F, T, G] entries a channel; 0 where a term has fewer.
    """

    fixed: int
    constants: NDArray[np.int64]
    lengths: NDArray[np.int64]
    entries: NDArray[np.float64]

    @classmethod
    def of(cls, fixed: int, terms: Sequence[Term], groups: int) -> "TermTable":
        """Terms with the same factors become one."""
        constants: Counter[tuple[tuple[int, tuple[int, ...]], ...]] = Counter()
        for term in terms:
            constants[term.factors] += term.constant
        most = max((len(factors) for factors in constants), default=0)
        lengths = np.ones((most, len(constants)), dtype=np.int64)
        entries = np.zeros((most, len(constants), groups))
        for row, factors in enumerate(constants):
            for place, (length, owned) in enumerate(factors):
                lengths[place, row], entries[place, row] = length, owned
        return cls(fixed, np.array(list(constants.values()), dtype=np.int64), lengths, entries)

    def at(self, widths: NDArray) -> NDArray[np.int64]:
        """The sums [N] at N width vectors [N, G]."""
        columns = np.asarray(widths, dtype=np.float64).T
        amounts = np.broadcast_to(self.constants[:, None], (len(self.constants), columns.shape[1]))
        for lengths, entries in zip(self.lengths, self.entries, strict=True):
            amounts = amounts * (lengths[:, None] + np.rint(entries @ columns).astype(np.int64))
        return self.fixed + amounts.sum(axis=0)


@dataclass(frozen=True, eq=False)
class Cost:
    """Amounts by widths.

    Attributes:
        names: the groups, in the order of width vectors, G in all.
        tables: the terms of each measure.
    """

    names: tuple[str, ...]
    tables: Mapping[Measure, TermTable]

    @classmethod
    def of(
        cls,
        names: tuple[str, ...],
        fixed_macs: int,
        macs: Sequence[Term],
        fixed_params: int,
        params: Sequence[Term],
    ) -> "Cost":
        """A cost from the terms of both measures."""
        tables: dict[Measure, TermTable] = {
            "macs": TermTable.of(fixed_macs, macs, len(names)),
            "params": TermTable.of(fixed_params, params, len(names)),
        }
        return cls(names, tables)

    def macs(self, widths: Mapping[str, int]) -> int:
        """Multiply-accumulates of one forward pass of one input, at these widths (one for every group)."""
        return int(self.amounts("macs", [[widths[name] for name in self.names]])[0])

    def params(self, widths: Mapping[str, int]) -> int:
        """Number of parameters at these widths (one for every group)."""
        return int(self.amounts("params", [[widths[name] for name in self.names]])[0])

    def amounts(self, measure: Measure, widths: Sequence[Sequence[int]] | NDArray) -> NDArray[np.int64]:
        """The amounts [N] at N width vectors [N, G], groups in the order of `names`."""
        return self.tables[measure].at(np.asarray(widths))

"""What a notebook gets back: one run, several side by side, a network's groups, a store's records."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.records.record import Point, Record
from bench.records.rows import record_row

if TYPE_CHECKING:
    from torch import nn

    from bench.surgery.groups import ChannelGroup, SkippedGroup

__all__ = ["Comparison", "GroupList", "Records", "Result"]


@dataclass(frozen=True, repr=False)
class Result:
    """One run.

    Attributes:
        record: as in the store.
        store: folder of the runs.
        into: gives the dense network that a pruned one is loaded into.
    """

    record: Record
    store: Path
    into: "nn.Module | None" = field(default=None, compare=False)

    @cached_property
    def network(self) -> "nn.Module":
        """The pruned network, in evaluation mode on the CPU.

        Raises:
            StoreError: the run failed and has none.
        """
        import copy

        from bench.own.export.load import load

        return load(self.record, copy.deepcopy(self.into) if self.into is not None else None, self.store)

    @property
    def curve(self) -> tuple[Point, ...]:
        """Loss, accuracy and MACs by epoch."""
        return self.record.curve

    def export(self, path: "str | Path | None" = None, to: str = "onnx", normalisation: str = "graph") -> Path:
        """Writes the pruned network as ONNX (checked by onnxruntime) or safetensors; see `bench export`.

        Args:
            path: the file; None for RUN.onnx or RUN.safetensors in the present folder.
            to: `onnx` or `safetensors`.
            normalisation: of ONNX: `graph` (the input is pixels, 0 to 255) or `metadata`.

        Returns:
            The file.
        """
        from bench.errors import unknown_name
        from bench.own.export.load import stored

        if to not in ("onnx", "safetensors"):
            raise unknown_name("format", to, ["onnx", "safetensors"])
        if normalisation not in ("graph", "metadata"):
            raise unknown_name("normalisation", normalisation, ["graph", "metadata"])
        found, out = stored(self.record, self.store), Path(path or f"{self.record.run_id}.{to}")
        if to == "safetensors":
            from bench.own.export.safetensors_file import export_safetensors

            export_safetensors(found, out)
        else:
            from bench.own.export.onnx_file import export_onnx

            export_onnx(found, out, normalisation, timed=False)  # type: ignore[arg-type]
        return out

    def __repr__(self) -> str:
        return repr(self.record)

    def _repr_html_(self) -> str:
        return _tables([self.record])


@dataclass(frozen=True, repr=False)
class Records(Sequence[Record]):
    """Records, as a sequence.

    Attributes:
        found: the records.
        unreadable: why others could not be read.
    """

    found: tuple[Record, ...]
    unreadable: tuple[str, ...] = ()

    def __getitem__(self, place: Any) -> Any:
        return Records(self.found[place], self.unreadable) if isinstance(place, slice) else self.found[place]

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.found)

    def frame(self) -> Any:
        """A pandas DataFrame, one row a run, with units in the columns' names (`bench.records.rows`).

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            from bench.errors import UsageError

            raise UsageError("a frame needs pandas: pip install 'bench[notebook]'.") from None
        return pandas.DataFrame([record_row(record) for record in self.found])

    def __repr__(self) -> str:
        methods, tracks = ({getattr(record, name) for record in self.found} for name in ("method", "track"))
        broken = f", {len(self.unreadable)} unreadable" if self.unreadable else ""
        return f"<{len(self.found)} records of {len(methods)} methods on {len(tracks)} tracks{broken}>"

    def _repr_html_(self) -> str:
        return _tables(self.found)


@dataclass(frozen=True, repr=False)
class Comparison(Records):
    """Several methods on one network, images and budget.

    Attributes:
        store: folder of the runs.
        into: gives the dense network that pruned ones are loaded into.
        left_out: why methods were not run.
    """

    store: Path = Path("runs")
    into: "nn.Module | None" = field(default=None, compare=False)
    left_out: tuple[str, ...] = ()

    @property
    def results(self) -> tuple[Result, ...]:
        """The runs, each with its network."""
        return tuple(Result(record, self.store, self.into) for record in self.found)

    @property
    def best(self) -> Result:
        """The run with the highest top-1 on validation; controls do not win.

        Raises:
            UsageError: no method came to its end.
        """
        from bench.errors import UsageError

        ended = [result for result in self.results if not result.record.control and result.record.pruned is not None]
        if not ended:
            raise UsageError("no method came to its end: look at the records' status and error.")
        return max(ended, key=lambda result: result.record.pruned.top1_val if result.record.pruned else 0.0)

    def __repr__(self) -> str:
        return "\n".join([*map(repr, self.found), *(f"left out: {reason}" for reason in self.left_out)])

    def _repr_html_(self) -> str:
        return _tables(self.found) + "".join(f"<p>left out: {escape(reason)}</p>" for reason in self.left_out)


@dataclass(frozen=True, repr=False)
class GroupList(Sequence["ChannelGroup"]):
    """The channel groups of a network.

    Attributes:
        offered: groups whose channels can go.
        left_out: those that cannot, with reasons.
    """

    offered: "tuple[ChannelGroup, ...]"
    left_out: "tuple[SkippedGroup, ...]"

    def __getitem__(self, place: Any) -> Any:
        return self.offered[place]

    def __len__(self) -> int:
        return len(self.offered)

    def __repr__(self) -> str:
        lines = [f"{g.name}: {g.width} channels, {g.macs_per_channel:,} MACs each" for g in self.offered]
        return "\n".join([*lines, *(f"left out: {each.name}: {each.reason}" for each in self.left_out)])

    def _repr_html_(self) -> str:
        from bench.leaderboard.pages.blocks import Cell, ColumnHead, TableBlock, TableRow
        from bench.leaderboard.pages.fragment import fragment_of

        numbers = ("channels", "MACs each", "params each")
        heads = (ColumnHead("group"), *(ColumnHead(name, numeric=True) for name in numbers), ColumnHead("layers"))
        rows = [
            (g.name, str(g.width), f"{g.macs_per_channel:,}", f"{g.params_per_channel:,}", ", ".join(g.layers))
            for g in self.offered
        ]
        rows += [(each.name, "–", "–", "–", f"left out: {each.reason}") for each in self.left_out]
        cells = tuple(TableRow(tuple(Cell(text) for text in row)) for row in rows)
        return fragment_of(TableBlock("channel groups", heads, cells))


def _tables(records: Iterable[Record]) -> str:
    """The tables of the page."""
    from bench.leaderboard.pages.fragment import fragment

    return fragment(records)

"""`bench groups`: what structured pruning can do with networks, as a table or JSON. `bench.surgery.survey` finds it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.errors import BenchError
from bench.networks.base import NetworkSpec
from bench.networks.registry import network as network_named
from bench.specs.target import Target
from bench.surgery.groups import by_reason
from bench.surgery.survey import Survey, survey

__all__ = ["Surveyed", "as_json", "print_surveys", "survey_of"]


@dataclass(frozen=True)
class Surveyed:
    """A network by name, what it was built for, and what was found; or why it could not be built or counted."""

    name: str
    shape: tuple[int, ...] | None
    found: Survey | None
    error: str | None = None

    @property
    def fulfilled(self) -> bool:
        """Whether it has groups and reached every target that was asked for."""
        found = self.found
        return found is not None and found.refusal is None and all(a.ratio is not None for a in found.attempts)


def survey_of(
    name: str,
    size: tuple[int, int] | None,
    channels: int | None,
    classes: int | None,
    prunable: tuple[str, ...] | None,
    targets: tuple[str, ...],
) -> Surveyed:
    """Builds a network with fresh weights and surveys it.

    Args:
        name: as in a track.
        size: height and width of its images in pixels; None, as for channels and classes, for what it is known for.
        channels: of an image.
        classes: number of labels.
        prunable: patterns of layer names; None for the network's own.
        targets: sizes to prune copies to.

    Raises:
        UsageError: there is no such network, or a target says nothing.
    """
    for target in targets:
        Target.parse(target)
    plugin = network_named(name)
    shape = None
    try:
        spec = NetworkSpec(
            channels or plugin.input.channels, size or plugin.input.size, classes or plugin.input.classes
        )
        shape = spec.shape
        return Surveyed(name, shape, survey(plugin.build(spec), spec.shape, prunable or plugin.prunable, targets))
    except BenchError as error:
        return Surveyed(name, shape, None, str(error))


def as_json(surveys: Sequence[Surveyed]) -> list[dict[str, Any]]:
    """One object a network."""
    rows = []
    for each in surveys:
        found = {} if each.found is None else asdict(each.found)
        rows.append({"network": each.name, "shape": each.shape, "error": each.error, **found})
    return rows


def print_surveys(surveys: Sequence[Surveyed], console: Console) -> None:
    """A table with a row a network, and below it what is left out and why."""
    targets = tuple(dict.fromkeys(a.target for each in surveys if each.found for a in each.found.attempts))
    table = Table()
    table.add_column("network", overflow="fold")
    for heading in ("input", "MACs", "prunable", "least", "groups", "seconds", *targets):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in surveys:
        table.add_row(*_row(each, targets))
    console.print(table)
    console.print(
        "prunable: share of the MACs in modules that removing channels makes cheaper. least: MACs with one channel in "
        "each group, relative to all. seconds: to find and rehearse the groups.",
        style="dim",
    )
    for each in surveys:
        for line in _remarks(each):
            console.print(line, markup=False, highlight=False)


def _row(each: Surveyed, targets: Sequence[str]) -> tuple[str, ...]:
    shape = "x".join(map(str, each.shape or ()))
    if each.found is None:
        return (each.name, shape, *["-"] * (5 + len(targets)))
    found = each.found
    reached = {attempt.target: attempt.ratio for attempt in found.attempts}
    return (
        each.name,
        shape,
        f"{found.macs / 1e6:,.1f} M",
        f"{found.share:.1%}",
        f"{found.least_ratio:.3f}",
        str(found.groups),
        f"{found.seconds:.2f}",
        *("refused" if (ratio := reached.get(target)) is None else f"{ratio:.3f}" for target in targets),
    )


def _remarks(each: Surveyed) -> list[str]:
    """Errors, refusals, and the groups left out by reason."""
    if each.found is None:
        return [f"{each.name}: {each.error}"]
    lines = [each.found.refusal[:1000]] if each.found.refusal else []
    lines += [f"{a.target} is refused: {a.refusal}" for a in each.found.attempts if a.refusal]
    lines += [f"left out, {reason}: {names}" for reason, names in by_reason(each.found.left_out).items()]
    return [f"{each.name}: {line}" for line in lines]

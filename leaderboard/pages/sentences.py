"""What is known, in sentences to take home: made from findings, for the top of every page and for the index."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from bench.leaderboard.board.board import Table, TrackSummary
from bench.leaderboard.board.comparison import Finding
from bench.leaderboard.board.finding import RANDOM

__all__ = ["FEW_GROUPS", "Lead", "leads", "target_sentences"]

FEW_GROUPS = 5
"""With fewer prunable groups, a search has next to nothing to choose from."""

_GROUPS_NAMED = 3


@dataclass(frozen=True)
class Lead:
    """What one table says.

    Attributes:
        sentences: a paragraph each.
        saturated: at every target that is compared.
    """

    sentences: tuple[str, ...]
    saturated: bool


def leads(track: TrackSummary) -> tuple[Lead, ...]:
    """By table of a track."""
    return tuple(_lead(track, table) for table in track.tables)


def _lead(track: TrackSummary, table: Table) -> Lead:
    findings = [target.finding for target in table.ranking.targets]
    if not track.ranked:
        worst = max((floor.half_width for floor in table.ranking.floors), default=None)
        within = f": differences below {_points(worst)} are the noise of its test images" if worst else ""
        return Lead((f"Too small to rank methods{within}.", *_search_sentences(table)), False)
    known = [finding for finding in findings if finding.methods]
    if not known:
        return Lead((_nothing(table),), False)
    grouped: dict[tuple[object, ...], list[Finding]] = defaultdict(list)
    for finding in known:
        alike = not finding.wins
        key = (finding.methods and finding.saturated, _controls_key(finding)) if alike else (finding.target,)
        grouped[key].append(finding)
    sentences = [_sentence(group) for group in grouped.values()]
    missing = [finding.target for finding in findings if not finding.methods]
    if missing:
        sentences.append(f"At {_and(missing)} nothing can be compared yet.")
    saturated = all(finding.saturated for finding in known) and not missing
    return Lead((*sentences, *_search_sentences(table)), saturated)


def target_sentences(finding: Finding) -> str:
    """What is known at one target."""
    if not finding.methods:
        return f"At {finding.target} nothing can be compared yet."
    return _sentence([finding])


def _nothing(table: Table) -> str:
    seeds = max((row.top1_test.n for row in table.rows), default=0)
    rows = len({row.label for row in table.rows if not row.control})
    if rows < 2:
        return "Nothing can be compared yet: there are fewer than two methods."
    return (
        f"Nothing can be told yet: {rows} methods, {seeds} seed{'' if seeds == 1 else 's'} at most; a comparison takes "
        "three seeds, a rank five."
    )


def _sentence(group: Sequence[Finding]) -> str:
    """One target's finding, or that of several at which nothing is told apart."""
    first = group[0]
    where = f"At {_and([finding.target for finding in group])}: "
    parts = [_wins(first)] if first.wins else [_alike(group)]
    if first.wins and first.margin_best is not None:
        parts.append(f"{_and(first.best)} cannot be told apart and agree within {_points(first.margin_best)}")
    parts.append(_against_controls(first))
    low, high = (pick(finding.detectable or 0.0 for finding in group) for pick in (min, max))
    found = _points(high) if f"{100 * low:.2f}" == f"{100 * high:.2f}" else f"{100 * low:.2f} to {_points(high)}"
    parts.append(f"a difference of {found} would have been found (80 % power)")
    sentences = ". ".join(_begun(part) if i else part for i, part in enumerate(filter(None, parts)))
    saturated = "Saturated. " if all(finding.saturated for finding in group) else ""
    return f"{saturated}{where}{sentences}."


def _alike(group: Sequence[Finding]) -> str:
    methods = {len(finding.methods) for finding in group}
    many = f"{min(methods)}" if len(methods) == 1 else f"{min(methods)} to {max(methods)}"
    if max(methods) == 1:
        return f"{group[0].methods[0]} is the only method"
    margin = max(finding.margin_best or 0.0 for finding in group)
    if max(methods) == 2:
        return f"{_and(sorted(group[0].methods))} cannot be told apart; they agree within {_points(margin)}"
    return f"none of the {many} methods can be told from another; they agree within {_points(margin)}"


def _wins(finding: Finding) -> str:
    """Who is better than whom."""
    beats: dict[str, list[str]] = defaultdict(list)
    for better, other, _ in finding.wins:
        beats[better].append(other)
    (top, *_) = finding.best
    if len(finding.best) == 1 and len(beats[top]) == len(finding.methods) - 1:
        text = f"{top} is better than {_and(beats[top]) if len(beats[top]) < 5 else 'every other method'}"
    else:
        by_losers: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for better in finding.methods:
            if beats.get(better):
                by_losers[tuple(sorted(beats[better]))].append(better)
        clauses = [
            f"{_and(winners)} {'is' if len(winners) == 1 else 'are'} better than {_and(losers)}"
            for losers, winners in list(by_losers.items())[:_GROUPS_NAMED]
        ]
        text = "; ".join(clauses)
        if len(by_losers) > _GROUPS_NAMED:
            text += f"; and {len(by_losers) - _GROUPS_NAMED} more such groups, in the matrix below"
    holds = [for_others for _, _, for_others in finding.wins]
    if not any(holds):
        return f"{text}, on these test images; other images might say otherwise"
    return text if all(holds) else f"{text} ({holds.count(False)} of {len(holds)} pairs on these test images only)"


def _controls_key(finding: Finding) -> tuple[object, ...]:
    return tuple(sorted(finding.controls))


def _against_controls(finding: Finding) -> str:
    if not finding.controls:
        return "random pruning was not run beside them"
    said, none_better = [], []
    for label, better, worse in finding.controls:
        name = "random pruning" if label.partition(" ")[0] in RANDOM else label
        if better:
            all_of = len(better) == len(finding.methods) and len(better) > 1
            who = "all methods" if all_of else _and(better)
            said.append(f"{who} {'is' if len(better) == 1 else 'are'} better than {name}")
        else:
            none_better.append(name)
        if worse:
            said.append(f"{_and(worse)} {'is' if len(worse) == 1 else 'are'} worse than {name}")
    if none_better:
        said.append(f"none is better than {' or than '.join(none_better)}")
    if not any(label.partition(" ")[0] in RANDOM for label, _, _ in finding.controls):
        said.append("random pruning was not run beside them")
    return "; ".join(said)


def _search_sentences(table: Table) -> list[str]:
    """Whether the searches had room to search, and what their agents added."""
    gains = table.ranking.agent_gains
    if not gains:
        return []
    sentences = []
    if table.groups is not None and table.groups < FEW_GROUPS:
        sentences.append(
            f"Searches have {table.groups} channel groups to choose from: this track cannot tell a search from a lot."
        )
    same = [gain for gain in gains if gain.identical]
    if same:
        runs = sum(gain.identical for gain in same)
        of = sum(min(gain.seeds) for gain in gains if gain.counterpart)
        sentences.append(f"In {runs} of {of} pairs of runs agent and lot ended in the same network, bit by bit.")
    searched, early = (sum(values) for values in zip(*((g.searched, g.from_warm_up) for g in gains), strict=True))
    if early:
        sentences.append(f"{early} of {searched} guided searches kept a network from before their agent had learnt.")
    return sentences


def _begun(part: str) -> str:
    """With a capital letter, unless it begins with the name of a method, which is written as it is typed."""
    ours = part.startswith(("none is", "all methods", "a difference of", "random pruning"))
    return part[0].upper() + part[1:] if ours else part


def _points(fraction: float) -> str:
    return f"{100 * fraction:.2f} points"


def _and(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

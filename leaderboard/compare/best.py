"""Which method kept most at one target of one track: chosen on validation, judged on test.

The winner is the method with the highest mean top-1 on the validation images, which no network was trained on. How far
the others are from it is said on the test images, by seed and by image (`bench.leaderboard.compare.difference`), each
interval at a level that holds for all rivals together (Bonferroni). Controls do not win: random pruning, training anew
and the dense network are what the winner is held against.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bench.errors import UsageError
from bench.leaderboard.compare.difference import AccuracyDifference, difference
from bench.records.record import Record
from bench.specs.target import Target
from bench.specs.track import Track

__all__ = ["Best", "Candidate", "Rival", "best_of"]

LEVEL = 0.05
_UNDECIDING = {"name", "summary", "targets", "seeds", "ranked", "latency_batch"}


@dataclass(frozen=True)
class Candidate:
    """A method with its settings, and its runs by seed."""

    label: str
    runs: dict[int, Record]

    @property
    def top1_val(self) -> float:
        """Mean over seeds."""
        return fmean(record.pruned.top1_val for record in self.runs.values() if record.pruned)

    @property
    def top1_test(self) -> float:
        """Mean over seeds."""
        return fmean(record.pruned.top1_test for record in self.runs.values() if record.pruned)

    @property
    def kept(self) -> float:
        """Mean share of the dense network's MACs."""
        return fmean(record.ratios.macs for record in self.runs.values() if record.ratios)

    @property
    def run(self) -> Record:
        """The run with the highest top-1 on validation; the lowest seed among equals."""
        return max(self.runs.values(), key=lambda r: (r.pruned.top1_val if r.pruned else 0.0, -r.seed))


@dataclass(frozen=True)
class Rival:
    """Another method, against the winner.

    Attributes:
        candidate: the method.
        lead: top-1 on test of the winner minus its own, over the seeds that both have; None without such a seed.
        half_width: of the interval of `lead`; None where neither images nor seeds tell it.
    """

    candidate: Candidate
    lead: AccuracyDifference | None
    half_width: float | None

    @property
    def apart(self) -> bool:
        """Whether the interval excludes 0: the winner is better, or worse, than this one on test."""
        return self.lead is not None and self.half_width is not None and abs(self.lead.mean) > self.half_width

    def words(self) -> str:
        """The lead in points with its interval."""
        if self.lead is None:
            return "no seed in common"
        around = ""
        if self.half_width is not None:
            low, high = 100 * (self.lead.mean - self.half_width), 100 * (self.lead.mean + self.half_width)
            around = f" ({low:+.1f} to {high:+.1f})"
        return f"{100 * self.lead.mean:+.1f} points{around}"


@dataclass(frozen=True)
class Best:
    """The answer.

    Attributes:
        track, target: of the question.
        winner: highest on validation.
        rivals: the other methods, best on validation first.
        controls: random pruning, training anew, the dense network with the same training: those that were run.
        fewer: methods with fewer seeds than the others, which are not compared.
        others: runs of the track's name with other settings of it, which are not compared.
    """

    track: str
    target: str
    winner: Candidate
    rivals: tuple[Rival, ...]
    controls: tuple[Rival, ...]
    fewer: tuple[Candidate, ...]
    others: int

    def lines(self) -> list[str]:
        """For people."""
        record = self.winner.run
        seeds = len(self.winner.runs)
        lines = [
            f"best at {self.target} on {self.track}: {self.winner.label}",
            f"  top-1 {self.winner.top1_val:.4f} on validation, by which it was chosen; {self.winner.top1_test:.4f} "
            f"on test, mean of {seeds} seed{'s' * (seeds != 1)}, at {self.winner.kept:.3f} of the MACs",
        ]
        if record.dense is not None:
            lines.append(f"  the dense network has {record.dense.top1_test:.4f} on test")
        near = [rival for rival in self.rivals if not rival.apart]
        far = [rival for rival in self.rivals if rival.apart]
        if near:
            lines += ["not told apart from it (its lead on test, with an interval that holds for all):"]
            lines += [f"  {rival.candidate.label}: {rival.words()}" for rival in near]
        if far:
            lines += ["told apart from it:"] + [f"  {rival.candidate.label}: {rival.words()}" for rival in far]
        lines += [self._control(rival) for rival in self.controls]
        if not any(rival.candidate.label == "random" for rival in self.controls):
            lines.append(
                f"random pruning was not run: bench run --method random --target {self.target} says what it gives"
            )
        if self.fewer:
            lines.append(
                f"not compared, for want of seeds: {', '.join(f'{c.label} ({len(c.runs)})' for c in self.fewer)}"
            )
        if self.others:
            lines.append(f"left out: {self.others} runs with other settings of the track than its file has now")
        if seeds < 3:
            lines.append(f"{seeds} of the three seeds that tell of others were run: add --seed 0 --seed 1 --seed 2")
        return [*lines, "next", f"  bench export {record.run_id} --to onnx"]

    def _control(self, rival: Rival) -> str:
        names = {
            "random": "random pruning",
            "scratch": "the same widths trained anew (scratch)",
            "dense": "the dense network with the same training",
        }
        name, own = names.get(rival.candidate.label, rival.candidate.label), self.winner.label
        says = "" if rival.apart else f"; {own} is not told apart from it"
        return f"{name}: {rival.candidate.top1_test:.4f} on test; the lead over it is {rival.words()}{says}"

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""

        def row(candidate: Candidate, rival: Rival | None = None) -> dict[str, Any]:
            return {
                "method": candidate.label,
                "top1_val": candidate.top1_val,
                "top1_test": candidate.top1_test,
                "macs": candidate.kept,
                "runs": [record.run_id for record in candidate.runs.values()],
                **({"lead": rival.lead.mean if rival.lead else None, "half_width": rival.half_width} if rival else {}),
                **({"told_apart": rival.apart} if rival else {}),
            }

        return {
            "track": self.track,
            "target": self.target,
            "winner": {**row(self.winner), "run": self.winner.run.run_id},
            "rivals": [row(rival.candidate, rival) for rival in self.rivals],
            "controls": [row(rival.candidate, rival) for rival in self.controls],
            "fewer_seeds": [row(candidate) for candidate in self.fewer],
            "other_settings": self.others,
        }


def best_of(records: Sequence[Record], track: Track, target: str) -> Best:
    """The best method at a target of a track.

    Args:
        records: of a store.
        track: as its file is now.
        target: such as `macs=0.5`.

    Raises:
        UsageError: nothing was run there; the text says what was, and what to run.
    """
    wanted = str(Target.parse(target))
    named = [record for record in records if record.track == track.name and record.status == "ok" and record.pruned]
    same = [record for record in named if _same(record, track)]
    here = [record for record in same if record.target == wanted or (record.control and record.target == "none")]
    candidates = _candidates([record for record in here if not record.control])
    if not candidates:
        there = sorted({record.target for record in same if record.target != "none"})
        failed = [r for r in records if r.track == track.name and r.target == wanted and r.status != "ok"]
        raise UsageError(
            f"no run of a method at {wanted} on track {track.name!r} is ok"
            + (f"; {len(failed)} are {', '.join(sorted({r.status for r in failed}))}" if failed else "")
            + (f"; there are runs at {', '.join(there)}" if there else "")
            + (
                f"; {len(named) - len(same)} have another "
                f"{', '.join(sorted({f for r in named for f in _changed(r, track)}))} "
                "than the track's file (say --budget 2ep for runs with that budget)"
                if len(named) > len(same)
                else ""
            )
            + f". Run some: bench run --track {track.name}.toml --method all --target {wanted}"
        )
    most = max(len(candidate.runs) for candidate in candidates)
    full = [candidate for candidate in candidates if len(candidate.runs) == most]
    winner, *others = sorted(full, key=lambda c: (-c.top1_val, c.kept, c.label))
    controls = _candidates([record for record in here if record.control])
    level = 1 - LEVEL / max(1, len(others))
    return Best(
        track=track.name,
        target=wanted,
        winner=winner,
        rivals=tuple(_rival(winner, other, level) for other in others),
        controls=tuple(_rival(winner, control, 1 - LEVEL) for control in controls),
        fewer=tuple(candidate for candidate in candidates if len(candidate.runs) < most),
        others=len(named) - len(same),
    )


def _same(record: Record, track: Track) -> bool:
    """Whether a record was made with the track as it is, but for what decides no result."""
    return not _changed(record, track)


def _changed(record: Record, track: Track) -> list[str]:
    """The fields of the track that were others in a record; one that came later counts where it is not empty now."""
    now, then = track.model_dump(mode="json"), record.track_fields
    return [
        name for name in now if name not in _UNDECIDING and then.get(name) != now[name] and (name in then or now[name])
    ]


def _candidates(records: Sequence[Record]) -> list[Candidate]:
    """Runs by method and settings; of several with one seed, as after an edit of the method, the last one."""
    from bench.trial.methods import method_classes

    known = method_classes()
    groups: dict[str, dict[int, Record]] = {}
    for record in sorted(records, key=lambda r: (r.method, r.seed, str(r.manifest.get("finished_at", "")))):
        default = known[record.method].Config().model_dump(mode="json") if record.method in known else record.config
        changed = [f"{name}={value}" for name, value in record.config.items() if default.get(name) != value]
        label = record.method + (f" ({', '.join(changed)})" if changed else "")
        groups.setdefault(label, {})[record.seed] = record
    return [Candidate(label, runs) for label, runs in groups.items()]


def _rival(winner: Candidate, other: Candidate, confidence: float) -> Rival:
    pairs = [(theirs.pruned, winner.runs[seed].pruned) for seed, theirs in other.runs.items() if seed in winner.runs]
    both = [(first, second) for first, second in pairs if first is not None and second is not None]
    if not both:
        return Rival(other, None, None)
    lead = difference(both)
    return Rival(other, lead, lead.half_width(confidence))

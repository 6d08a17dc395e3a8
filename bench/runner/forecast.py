"""What a plan will do and how long it may take, from the records that are there."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.records.format import duration
from bench.records.index import IndexedRun, indexed
from bench.records.record import UNFINISHED, Record
from bench.records.store import Store, read_paths
from bench.runner.dense import changed_since, dense_key
from bench.runner.jobs import Job
from bench.runner.queue import readable
from bench.runner.run import journal_folder
from bench.specs.changes import changed_inputs, changed_wishes, inputs_of

__all__ = ["Overview", "PlannedRun", "overview", "planned_runs"]

_MEASURE_SECONDS = 2.0  # measuring, writing and publishing one run


@dataclass(frozen=True)
class Overview:
    """A plan before it runs.

    Attributes:
        total, done, interrupted, failed: numbers of runs; interrupted ones are taken up, failed ones are there.
        todo: runs that will be carried out.
        seconds: estimated time of those on one worker; None where nothing comparable has been run.
        stale: journals of interrupted runs of the same names with other code or settings.
        changed: for runs, and dense networks, that were made before from something else: what changed, and how many.
    """

    total: int
    done: int
    interrupted: int
    failed: int
    todo: int
    seconds: float | None
    stale: tuple[Path, ...]
    changed: tuple[str, ...] = ()

    def lines(self, workers: int) -> list[str]:
        """For people, one or two lines."""
        parts = [f"{self.done} done already"] if self.done else []
        parts += [f"{self.failed} failed before (--retry-failed runs them again)"] if self.failed else []
        parts += [f"{self.interrupted} interrupted and taken up"] if self.interrupted else []
        parts.append(f"{self.todo} to run")
        if self.todo and self.seconds is not None:
            parts.append(f"about {duration(self.seconds / min(workers, self.todo))} by earlier runs")
        lines = [f"plan: {self.total} run{'s' * (self.total != 1)}: {', '.join(parts)}"]
        lines += [f"note: {words}" for words in self.changed]
        lines += [
            f"note: {path} is of an interrupted run with other code or settings, and is not taken up; delete it if it "
            "is not needed"
            for path in self.stale
        ]
        return lines


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan, before it runs.

    Attributes:
        run_id, method, track, target, seed, device, config: what it is.
        command: makes this one row again.
        status: of its record; None where there is none.
        to_run: whether it will be carried out.
        interrupted: whether it goes on from a journal.
    """

    run_id: str
    method: str
    track: str
    target: str
    seed: int
    device: str
    config: dict[str, Any]
    command: str
    status: str | None
    to_run: bool
    interrupted: bool

    @property
    def words(self) -> str:
        """What will become of it, for people."""
        if not self.to_run:
            return f"done already: {self.status}"
        return "interrupted, to go on" if self.interrupted else "to run"


def planned_runs(jobs: Sequence[Job], store: Store, retry_failed: bool) -> list[PlannedRun]:
    """What a command would do with each job, by what the store holds."""
    rows = []
    for job in jobs:
        spec, record = job.spec, readable(store, job.spec.run_id)
        again = record is None or (retry_failed and record.status in UNFINISHED)
        rows.append(
            PlannedRun(
                run_id=spec.run_id,
                method=spec.method,
                track=spec.track.name,
                target=str(spec.target),
                seed=spec.seed,
                device=spec.device,
                config=spec.config,
                command=job.command,
                status=record.status if record else None,
                to_run=again,
                interrupted=again and journal_folder(store, spec).is_dir(),
            )
        )
    return rows


def overview(jobs: Sequence[Job], store: Store, records: Sequence[Record | IndexedRun], retry_failed: bool) -> Overview:
    """Looks at a plan and at what the store holds, of which the index is enough."""
    runs = [record if isinstance(record, IndexedRun) else indexed(record) for record in records]
    by_id = {run.run_id: run for run in runs}
    failed = [job for job in jobs if (r := by_id.get(job.spec.run_id)) is not None and r.status in UNFINISHED]
    absent = [job for job in jobs if job.spec.run_id not in by_id]
    todo = [*absent, *failed] if retry_failed else absent
    interrupted = [job for job in todo if journal_folder(store, job.spec).is_dir()]
    guesses = [_seconds(job, runs) for job in todo]
    known = [guess for guess in guesses if guess is not None]
    return Overview(
        total=len(jobs),
        done=len(jobs) - len(absent) - len(failed),
        interrupted=len(interrupted),
        failed=0 if retry_failed else len(failed),
        todo=len(todo),
        seconds=sum(known) / len(known) * len(todo) if known else None,
        stale=_stale(jobs, store),
        changed=_changed(
            absent, store, runs, {record.run_id: record for record in records if isinstance(record, Record)}
        ),
    )


def _changed(
    absent: Sequence[Job], store: Store, runs: Sequence[IndexedRun], given: Mapping[str, Record]
) -> tuple[str, ...]:
    """Why runs of the same names are made again, and dense networks of the same track and seed trained again."""
    in_order = sorted(runs, key=lambda run: run.finished_at)
    before = {(run.method, run.track, run.target, run.seed): run for run in in_order}
    again: Counter[str] = Counter()
    networks: dict[str, str] = {}
    for job in absent:
        spec = job.spec
        run = before.get((spec.method, spec.track.name, str(spec.target), spec.seed))
        record = None if run is None else given.get(run.run_id) or next(iter(read_paths([run.path])), None)
        if record is not None:
            words = changed_inputs(record.manifest, inputs_of(spec))
            words += changed_wishes(record.config, record.track_fields, spec)
            if "network_sha256" not in record.manifest:
                words = ["the form of records"]
            again[", ".join(words) or "device or precision"] += 1
        key = dense_key(spec)
        if key not in networks and (why := changed_since(spec, store)) is not None:
            networks[key] = why
    found = [f"{count} run{'s' * (count != 1)} again, since this changed: {words}" for words, count in again.items()]
    dense = Counter(networks.values())
    return (*found, *(f"{count} dense network{'s' * (count != 1)} anew: {why}" for why, count in dense.items()))


def _seconds(job: Job, runs: Sequence[IndexedRun]) -> float | None:
    """The median time of like runs: same track and budget, and same method and target if there are any."""
    budget = json.dumps(job.spec.track.budget.model_dump(mode="json"), sort_keys=True)
    like = [
        run for run in runs if run.track == job.spec.track.name and run.budget == budget and run.seconds is not None
    ]
    same = [run for run in like if (run.method, run.target) == (job.spec.method, str(job.spec.target))] or like
    times = [run.seconds for run in same if run.seconds is not None]
    return median(times) + _MEASURE_SECONDS if times else None


def _stale(jobs: Sequence[Job], store: Store) -> tuple[Path, ...]:
    wanted = {job.spec.run_id for job in jobs}
    labels = {run_id.rpartition("-")[0] for run_id in wanted}
    found = sorted(store.root.glob("*/journal/head.json"))
    return tuple(
        path.parent
        for path in found
        if path.parent.parent.name not in wanted and path.parent.parent.name.rpartition("-")[0] in labels
    )

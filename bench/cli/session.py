"""`bench run` from a checked command to its last line: plan, runs, W&B, page, table, exit code."""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.cli.progress import ProgressDisplay
from bench.cli.tables import results_table
from bench.journal import interrupt as stopping
from bench.records.console import make_console
from bench.records.index import RecordIndex
from bench.records.record import UNFINISHED, Record
from bench.records.store import Store
from bench.records.text import json_ascii, json_text, one_line, plain
from bench.runner.executor import Executor
from bench.runner.forecast import overview, planned_runs
from bench.runner.jobs import Job, Plan, RunRequest, plan, shard
from bench.runner.live import LIVE
from bench.runner.run import Workplace
from bench.runner.suite import Outcome, check, run_suite
from bench.runner.workers import Inline
from bench.tracking.mode import choose_mode
from bench.tracking.tracker import Tracker

__all__ = ["Session"]


_DRAWN_WHOLE = 400
"""Records of a store of which each `bench run` draws all; of a larger one `bench leaderboard` does."""
_STOPPING = "stopping: each run is kept where it is (Ctrl-C again stops at once)"


@dataclass
class Session:
    """One `bench run`.

    Attributes:
        store: folder of the runs.
        data: data folder.
        wandb: `auto`, `online`, `offline` or `off`.
        executor: carries the runs out.
        workers: runs at the same time.
        quiet: nothing on standard output but what is asked for.
        project, entity: of W&B; None for its variables, else `bench` and the account's own.
    """

    store: Path
    data: Path
    wandb: str = "auto"
    executor: Executor = field(default_factory=Inline)
    workers: int = 1
    quiet: bool = False
    project: str | None = None
    entity: str | None = None

    def plan(self, request: RunRequest, part: str | None, retry_failed: bool, as_json: bool) -> int:
        """Says what a command would do, and does nothing.

        Raises:
            UsageError: what was asked for cannot be done.
        """
        made = _planned(request, part, Workplace(Store(self.store), self.data))
        rows = planned_runs(made.jobs, Store(self.store), retry_failed)
        if as_json:
            print(json_text([asdict(row) for row in rows]))
            return 0
        for unfit in made.left_out:
            print(one_line(f"left out on {unfit.track}: {unfit.reason}"))
        runs = RecordIndex(self.store).runs()
        for line in overview(made.jobs, Store(self.store), runs, retry_failed).lines(self.workers):
            print(plain(line))
        for row in rows:
            print(one_line(f"{row.run_id}: {row.words}"))
        return 0

    def run(
        self, request: RunRequest, retry_failed: bool = False, as_json: bool = False, part: str | None = None
    ) -> int:
        """Runs the plan and reports.

        Returns:
            The exit code: 0 if all runs are ok, 1 if one is not, 130 if it was interrupted.

        Raises:
            UsageError: what was asked for cannot be done; nothing was started.
        """
        mode = choose_mode(self.wandb, os.environ)
        workplace = Workplace(Store(self.store), self.data)
        made = _planned(request, part, workplace)
        jobs = made.jobs
        check(jobs, workplace)
        display = ProgressDisplay(len(jobs))
        tracker = Tracker(
            mode, self.store, self.project, entity=self.entity, warn=lambda text: display.say(f"warning: {text}")
        )

        def progress(job: Job, phase: str, share: float) -> None:
            display.update(job, phase, share)
            tracker.follow(job.spec, job.command, workplace.store.folder(job.spec.run_id) / LIVE)

        for unfit in made.left_out:
            display.say(f"left out on {unfit.track}: {unfit.reason}")
        runs = RecordIndex(self.store).runs()
        for line in overview(jobs, workplace.store, runs, retry_failed).lines(self.workers):
            display.say(line)
        outcomes: list[Outcome] = []
        interrupted = False
        with stopping.graceful(message=_STOPPING), display.shown():
            try:
                for outcome in run_suite(jobs, workplace, self.executor, progress, retry_failed):
                    outcomes.append(outcome)
                    display.finished(outcome.job, _words(outcome))
                    if outcome.record is not None and outcome.fresh:
                        network = workplace.store.folder(outcome.record.run_id) / "network.safetensors"
                        tracker.publish(outcome.record, network if network.is_file() else None)
            except KeyboardInterrupt:
                interrupted = True
            finally:
                tracker.close()
            tracker.publish_suite([each.record for each in outcomes if each.record is not None and each.fresh])
        if interrupted:
            display.say(f"interrupted after {len(outcomes)} of {len(jobs)} runs; the same command goes on from here.")
        ordered = _in_order(outcomes, jobs)
        records = [outcome.record for outcome in ordered if outcome.record is not None]
        page = self._page([outcome.record for outcome in ordered if outcome.record is not None and outcome.fresh])
        if as_json:
            print(json_ascii("[" + ",\n".join(record.to_json().rstrip() for record in records) + "]"))
        else:
            self._report(records, page)
            for outcome in ordered:
                if outcome.record is None:
                    print(f"{outcome.job.spec.run_id}: no record: {outcome.error}")
        if interrupted:
            return 130
        return 0 if len(records) == len(jobs) and all(record.status == "ok" for record in records) else 1

    def _page(self, fresh: Sequence[Record]) -> Path:
        """Draws the store's pages; of a large store those alone of the tracks that were touched, and of the runs."""
        from bench.leaderboard.pages.store_pages import draw_stores, draw_touched

        runs, out = RecordIndex(self.store).runs(), self.store / "page"
        if len(runs) <= _DRAWN_WHOLE:
            return draw_stores([self.store], out)[0]
        return draw_touched(self.store, fresh, out)

    def _report(self, records: Sequence[Record], page: Path) -> None:
        """The table, what went wrong, and where everything is."""
        console = make_console() if sys.stdout.isatty() else make_console(width=80)
        if records:
            console.print(results_table(records))
        for record in records:
            if record.error:
                print(one_line(f"{record.run_id}: {record.status}: {record.error.strip().splitlines()[-1]}"))
        print(plain(f"page    {page}"))


def _planned(request: RunRequest, part: str | None, workplace: Workplace) -> Plan:
    made = plan(request, workplace.inputs)
    return made if part is None else shard(made, part)


def _words(outcome: Outcome) -> str:
    record = outcome.record
    if record is None:
        return outcome.error or "no record"
    if not outcome.fresh:
        again = " (again with --retry-failed)" if record.status in UNFINISHED else ""
        return f"done already: {record.status}{again}"
    if record.pruned and record.dense and record.ratios:
        return (
            f"{record.status}, top-1 {record.dense.top1_test:.4f} -> {record.pruned.top1_test:.4f} "
            f"at {record.ratios.macs:.4f} of the MACs"
        )
    return record.status


def _in_order(outcomes: Sequence[Outcome], jobs: Sequence[Job]) -> list[Outcome]:
    place = {job.spec.run_id: number for number, job in enumerate(jobs)}
    return sorted(outcomes, key=lambda outcome: place[outcome.job.spec.run_id])

"""Weights & Biases, an adapter over the store, never the store: a record is written first, then published.

wandb is imported when the first record is published, and not at all when the mode is `off`. Whatever goes
wrong with it (not installed, no network, a bad key, an unwritable folder) costs one warning and no run.
"""

import contextlib
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.records.record import Point, Record
from bench.runner.live import read_live
from bench.specs.run import RunSpec
from bench.tracking.artifacts import log_files, use_inputs
from bench.tracking.mode import Mode, project_name
from bench.tracking.values import (
    plan_config,
    record_digest,
    run_config,
    run_name,
    run_summary,
    run_tags,
    suite_row,
    wandb_id,
)

__all__ = ["Published", "Tracker"]


_logger = logging.getLogger(__name__)
_FINISH_TIMEOUT_SECONDS = 120.0
_LOOK_SECONDS = 1.0
_STATS_SECONDS = 5.0
_ALARMING = ("failed", "invalid", "timed-out", "out-of-memory")
_PHASES = ("dense", "search", "prune", "finetune")
_COMPLETE = "published.sha256"


@dataclass(frozen=True)
class Published:
    """Where a record went.

    Attributes:
        run_id: the W&B run's id: the record's, shortened to what W&B takes.
        where: the offline run's folder, or the run's address.
    """

    run_id: str
    where: str


@dataclass
class _LiveRun:
    """A W&B run that is open while its run goes on.

    Attributes:
        run: W&B's.
        logged: points of the curve that it has.
        looked: when they were last looked for, on the monotonic clock.
    """

    run: Any
    logged: int
    looked: float


class Tracker:
    """Publishes records, one W&B run each: live while the run goes on (`follow`), whole when there is a record.

    Publishing a record again changes nothing: offline, a folder that holds this record is kept and one that
    holds an older record of the run, or a part of it that was killed, is replaced; online, the run is resumed and
    only what it lacks is added.

    Args:
        mode: from `choose_mode`.
        store_root: the store; offline runs go to `STORE/wandb`.
        project: the W&B project; None for WANDB_PROJECT, else `bench`.
        entity: whose project; None for WANDB_ENTITY, else the account's default.
        warn: called with one sentence when W&B fails, at most once; the tracker is off from then on.
        init_timeout_seconds: longest wait for W&B to start a run.
    """

    def __init__(
        self,
        mode: Mode,
        store_root: Path,
        project: str | None = None,
        *,
        entity: str | None = None,
        warn: Callable[[str], None] = _logger.warning,
        init_timeout_seconds: float = 20.0,
    ) -> None:
        self.mode: Mode = mode
        self._root = store_root
        self._project, self._entity = project_name(project, os.environ), entity
        self._warn = warn
        self._init_timeout_seconds = init_timeout_seconds
        self._live: dict[str, _LiveRun] = {}

    def follow(self, spec: RunSpec, command: str, curve: Path) -> None:
        """Brings the W&B run of a run that is under way up to date; opens it once there is a curve.

        Never raises for anything that W&B does.

        Args:
            spec: what is run.
            command: makes it again.
            curve: where the run leaves its points (`bench.runner.live`).
        """
        live = self._live.get(spec.run_id)
        if self.mode == "off" or (live and time.monotonic() - live.looked < _LOOK_SECONDS) or not curve.is_file():
            return
        try:
            with _kept_to_the_store(self._root / "wandb"):
                if live is None:
                    tags = [spec.track.name[:64]]
                    name = run_name(spec.method, str(spec.target), spec.seed)
                    run = self._open(spec.run_id, name, spec.track.name, spec.method, tags, plan_config(spec, command))
                    live = self._live[spec.run_id] = _LiveRun(run, run.starting_step, 0.0)
                found = read_live(curve)
                _log_points(live.run, found, live.logged)
                live.logged = max(live.logged, len(found))
                live.looked = time.monotonic()
        except Exception as error:
            self._give_up(error)

    def publish(self, record: Record, network: Path | None = None) -> Published | None:
        """Publishes a record, a failed one too, and its network where there is one.

        Returns:
            Where it went; None when the tracker is off. Never raises for anything that W&B does.
        """
        if self.mode == "off":
            return None
        try:
            return self.send(record, network)
        except Exception as error:  # whatever W&B does, the run stands
            self._give_up(error)
            return None

    def publish_suite(self, records: Sequence[Record]) -> None:
        """One W&B run more, whose table has a row for each of these runs. Never raises for anything that W&B does."""
        if self.mode == "off" or len(records) < 2:
            return
        rows = [suite_row(record) for record in records]
        name = hashlib.sha256(" ".join(sorted(row["run"] for row in rows)).encode()).hexdigest()[:12]
        try:
            with _kept_to_the_store(self._root / "wandb"):
                if self.mode == "offline":
                    for folder in (self._root / "wandb").glob(f"offline-run-*-suite-{name}"):
                        shutil.rmtree(folder, ignore_errors=True)
                run = self._open(f"suite-{name}", f"suite of {len(rows)} runs", None, "suite", ["suite"], {})
                try:
                    import wandb

                    table = wandb.Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])
                    run.log({"runs": table}, step=run.starting_step)
                finally:
                    run.finish()
        except Exception as error:
            self._give_up(error)

    def close(self) -> None:
        """Ends the W&B runs of runs that did not come to a record; a later command takes them up."""
        for live in self._live.values():
            with contextlib.suppress(Exception):
                live.run.finish(exit_code=1)
        self._live.clear()

    def send(self, record: Record, network: Path | None = None) -> Published:
        """Publishes a record, online or offline as the mode says; unlike `publish` it raises what W&B raises."""
        with _kept_to_the_store(self._root / "wandb"):
            return self._offline(record, network) if self.mode == "offline" else self._send(record, network)

    def _give_up(self, error: Exception) -> None:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        self._warn(
            f"W&B ({self.mode}) failed and is off from here on: {type(error).__name__}: {reason}. "
            f"Results are in {self._root} all the same. `bench sync` publishes them later; --wandb off "
            "leaves W&B out."
        )
        self.mode = "off"
        self.close()

    def _offline(self, record: Record, network: Path | None) -> Published:
        run_id = wandb_id(record.run_id)
        folders = sorted((self._root / "wandb").glob("offline-run-*"))
        live = self._live.get(record.run_id)
        own = None if live is None else Path(live.run.settings.sync_dir)
        older = [folder for folder in folders if (folder / f"run-{run_id}.wandb").is_file() and folder != own]
        for folder in older:
            if _read(folder / _COMPLETE) == record_digest(record):
                return Published(run_id, str(folder))
        published = self._send(record, network)
        (Path(published.where) / _COMPLETE).write_text(record_digest(record), encoding="utf-8")
        for folder in older:
            shutil.rmtree(folder, ignore_errors=True)
        return published

    def _send(self, record: Record, network: Path | None) -> Published:
        live = self._live.pop(record.run_id, None)
        if live is None:
            name = run_name(record.method, record.target, record.seed)
            run = self._open(record.run_id, name, record.track, record.method, run_tags(record), run_config(record))
            logged = run.starting_step
        else:
            run, logged = live.run, live.logged
            run.config.update(run_config(record), allow_val_change=True)
            run.tags = tuple(run_tags(record))
        import wandb

        exit_code = 1
        try:
            _log_points(run, record.curve, logged)
            _log_layers(wandb, run, record, logged)
            run.summary.update(run_summary(record))
            use_inputs(wandb, run, record, self._root)
            log_files(wandb, run, record, network)
            if record.status in _ALARMING:
                last = (record.error or "").strip().splitlines()[-1:] or ["no error was kept"]
                run.alert(f"{record.method}: {record.status}"[:64], f"{record.run_id}: {last[0][:500]}", level="ERROR")
            exit_code = 0 if record.pruned is not None and record.status not in _ALARMING else 1
        finally:
            run.finish(exit_code=exit_code)
        where = run.url if self.mode == "online" else str(Path(run.settings.sync_dir))
        return Published(wandb_id(record.run_id), where)

    def _open(
        self, run_id: str, name: str, group: str | None, job_type: str, tags: Sequence[str], config: dict[str, Any]
    ) -> Any:
        """A W&B run, new or resumed, with its axes."""
        # wandb itself would fall back to a temporary folder, where nobody finds the run.
        folder = self._root / "wandb"
        folder.mkdir(parents=True, exist_ok=True)
        _check_writable(folder)

        import wandb

        wandb.setup(wandb.Settings(silent=True, quiet=True))
        run = wandb.init(
            id=wandb_id(run_id),
            project=self._project,
            entity=self._entity,
            group=os.environ.get("WANDB_RUN_GROUP") or group,
            job_type=job_type,
            name=name,
            tags=list(tags),
            config=config,
            mode="online" if self.mode == "online" else "offline",
            dir=str(self._root),
            reinit="create_new",
            resume="allow" if self.mode == "online" else None,
            settings=_settings(wandb, self._init_timeout_seconds),
        )
        run.define_metric("epoch", summary="none")
        run.define_metric("spent", summary="none")
        for phase in _PHASES:
            run.define_metric(f"{phase}/*", step_metric="epoch", summary="none")
        return run


@contextmanager
def _kept_to_the_store(folder: Path) -> Iterator[None]:
    """Sets what wandb takes from the environment alone, as long as the user has not set it.

    Staged files and the service's log go to the store: else an offline run is not whole there, and a home
    folder that cannot be written is a failure. Error reports are off: wandb 0.31 looks its server up even
    when offline.
    """
    wanted = {
        "WANDB_DATA_DIR": str(folder),
        "WANDB_CACHE_DIR": str(folder / "cache"),
        "WANDB_ERROR_REPORTING": "false",
    }
    ours = {key: value for key, value in wanted.items() if key not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for key in ours:
            os.environ.pop(key, None)


def _log_points(run: Any, points: Sequence[Point], logged: int) -> None:
    """The points after the first `logged` ones: W&B drops steps that do not rise, with a warning each."""
    for step, point in enumerate(points):
        if step >= logged:
            values = {f"{point.phase}/{name}": value for name, value in point.values.items() if value is not None}
            run.log({"epoch": point.epoch, "spent": point.spent, **values}, step=step, commit=True)


def _log_layers(wandb: Any, run: Any, record: Record, logged: int) -> None:
    if record.layers and len(record.curve) >= logged:
        columns = list(type(record.layers[0]).model_fields)
        rows = [[getattr(layer, column) for column in columns] for layer in record.layers]
        run.log({"layers": wandb.Table(columns=columns, data=rows)}, step=len(record.curve))


def _settings(wandb: Any, init_timeout_seconds: float) -> Any:
    """Quiet; besides what is handed over only the machine's load is looked at (system metrics)."""
    wanted = {
        "silent": True,
        "quiet": True,
        "console": "off",
        "disable_code": True,
        "disable_git": True,
        "disable_job_creation": True,
        "save_code": False,
        "symlink": False,
        "use_dot_wandb": False,
        "init_timeout": init_timeout_seconds,
        "finish_timeout": _FINISH_TIMEOUT_SECONDS,
        "finish_timeout_raises": True,
        "x_disable_meta": True,
        "x_disable_stats": False,
        "x_stats_sampling_interval": _STATS_SECONDS,
        "x_stats_track_process_tree": True,
        "x_save_requirements": False,
    }
    # Releases differ in which of these they know, and refuse the others.
    return wandb.Settings(**{key: wanted[key] for key in wanted if key in wandb.Settings.model_fields})


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _check_writable(folder: Path) -> None:
    probe = folder / ".writable"
    probe.touch()
    probe.unlink()

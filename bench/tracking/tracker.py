"""Weights & Biases, an adapter over the store, never the store: a record is written first, then published.

wandb is imported when the first record is published, and not at all when the mode is `off`. Whatever goes
wrong with it (not installed, no network, a bad key, an unwritable folder) costs one warning and no run.
"""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.records.record import UNFINISHED, Measured, Record
from bench.tracking.mode import Mode

__all__ = ["Published", "Tracker", "record_digest"]


_logger = logging.getLogger(__name__)
_ID_LIMIT = 64
_FINISH_TIMEOUT_SECONDS = 120.0
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


class Tracker:
    """Publishes records, one W&B run each.

    Publishing a record again changes nothing: offline, a folder that holds this record is kept and one that
    holds an older record of the run is replaced; online, the run is resumed and only what it lacks is added.

    Args:
        mode: from `choose_mode`.
        store_root: the store; offline runs go to `STORE/wandb`.
        project: the W&B project.
        entity: whose project; None for the account's default.
        warn: called with one sentence when W&B fails, at most once; the tracker is off from then on.
        init_timeout_seconds: longest wait for W&B to start a run.
    """

    def __init__(
        self,
        mode: Mode,
        store_root: Path,
        project: str = "bench",
        *,
        entity: str | None = None,
        warn: Callable[[str], None] = _logger.warning,
        init_timeout_seconds: float = 20.0,
    ) -> None:
        self.mode: Mode = mode
        self._root = store_root
        self._project, self._entity = project, entity
        self._warn = warn
        self._init_timeout_seconds = init_timeout_seconds

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
            reason = " ".join(str(error).split())[:300].rstrip(".")
            self._warn(
                f"W&B ({self.mode}) failed and is off from here on: {type(error).__name__}: {reason}. "
                f"Results are in {self._root} all the same. `bench sync` publishes them later; --wandb off "
                "leaves W&B out."
            )
            self.mode = "off"
            return None

    def send(self, record: Record, network: Path | None = None) -> Published:
        """Publishes a record, online or offline as the mode says; unlike `publish` it raises what W&B raises."""
        with _kept_to_the_store(self._root / "wandb"):
            return self._offline(record, network) if self.mode == "offline" else self._send(record, network)

    def _offline(self, record: Record, network: Path | None) -> Published:
        run_id = wandb_id(record.run_id)
        folders = sorted((self._root / "wandb").glob("offline-run-*"))
        older = [folder for folder in folders if (folder / f"run-{run_id}.wandb").is_file()]
        for folder in older:
            if _read(folder / _COMPLETE) == record_digest(record):
                return Published(run_id, str(folder))
        published = self._send(record, network)
        (Path(published.where) / _COMPLETE).write_text(record_digest(record), encoding="utf-8")
        for folder in older:
            shutil.rmtree(folder, ignore_errors=True)
        return published

    def _send(self, record: Record, network: Path | None) -> Published:
        # wandb itself would fall back to a temporary folder, where nobody finds the run.
        folder = self._root / "wandb"
        folder.mkdir(parents=True, exist_ok=True)
        _check_writable(folder)

        import wandb

        wandb.setup(wandb.Settings(silent=True, quiet=True))
        run = wandb.init(
            id=wandb_id(record.run_id),
            project=self._project,
            entity=self._entity,
            group=record.track,
            job_type=record.method,
            name=_name(record),
            tags=_tags(record),
            config=run_config(record),
            mode="online" if self.mode == "online" else "offline",
            dir=str(self._root),
            reinit="create_new",
            resume="allow" if self.mode == "online" else None,
            settings=_settings(wandb, self._init_timeout_seconds),
        )
        exit_code = 1
        try:
            _log_curve(run, record)
            _log_layers(wandb, run, record)
            run.summary.update(run_summary(record))
            _log_files(wandb, run, record, network)
            exit_code = int(record.status in UNFINISHED)
        finally:
            run.finish(exit_code=exit_code)
        where = run.url if self.mode == "online" else str(Path(run.settings.sync_dir))
        return Published(wandb_id(record.run_id), where)


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


def wandb_id(run_id: str) -> str:
    """The W&B id of a run: its own where W&B takes it, else a shorter one that keeps the hash at its end."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", run_id)
    if len(safe) <= _ID_LIMIT:
        return safe
    head, _, tail = safe.rpartition("-")
    tail = tail[-40:]
    return f"{head[: _ID_LIMIT - 1 - len(tail)].rstrip('-')}-{tail}"


def run_config(record: Record) -> dict[str, Any]:
    """What was asked for and where it ran, in one level: nested keys are a pain to filter by in W&B."""
    return {
        **_flat(record.manifest),
        **_flat({key: record.track_fields.get(key) for key in ("dataset", "network", "threads", "ranked")}),
        **{f"set.{key}": value for key, value in _flat(record.config).items()},
        "run_id": record.run_id,
        "method": record.method,
        "kind": record.kind,
        "control": record.control,
        "track": record.track,
        "target": record.target,
        "seed": record.seed,
        "budget_amount": record.budget.amount,
        "budget_unit": record.budget.unit,
    }


def run_summary(record: Record) -> dict[str, Any]:
    """The final scalars: accuracies are fractions, sizes without a prefix are the pruned network's."""
    summary: dict[str, Any] = {"status": record.status}
    if record.error:
        summary["error"] = record.error.strip().splitlines()[-1][:500]
    if record.dense:
        summary |= {f"dense_{key}": value for key, value in _scalars(record.dense).items()}
    if record.pruned:
        scalars = _scalars(record.pruned)
        summary |= {f"pruned_{key}" if key.startswith("top") else key: scalars[key] for key in scalars}
    if record.ratios:
        summary |= {f"ratio_{key}": value for key, value in record.ratios.model_dump().items()}
    for phase, spent in record.ledger.items():
        prefix = "" if phase == "total" else f"{phase}_"
        summary[f"{prefix}device_seconds"] = spent.device_seconds
        summary[f"{prefix}spent_macs"] = spent.macs
    return {key: value for key, value in summary.items() if value is not None}


def _scalars(measured: Measured) -> dict[str, Any]:
    left_out = {"correct_test", "latency", "weights_sha256"}
    scalars = measured.model_dump(exclude=left_out)
    for row in measured.latency:
        scalars[f"latency_ms_b{row.batch}"] = row.median_seconds * 1e3
    return scalars


def _log_curve(run: Any, record: Record) -> None:
    run.define_metric("epoch", summary="none")
    run.define_metric("spent", summary="none")
    for phase in dict.fromkeys(point.phase for point in record.curve):
        run.define_metric(f"{phase}/*", step_metric="epoch", summary="none")
    for step, point in enumerate(record.curve):
        # A resumed run has these points already; W&B drops steps that do not rise, with a warning each.
        if step >= run.starting_step:
            values = {f"{point.phase}/{name}": value for name, value in point.values.items() if value is not None}
            run.log({"epoch": point.epoch, "spent": point.spent, **values}, step=step)


def _log_layers(wandb: Any, run: Any, record: Record) -> None:
    if record.layers and len(record.curve) >= run.starting_step:
        columns = list(type(record.layers[0]).model_fields)
        rows = [[getattr(layer, column) for column in columns] for layer in record.layers]
        run.log({"layers": wandb.Table(columns=columns, data=rows)}, step=len(record.curve))


def _log_files(wandb: Any, run: Any, record: Record, network: Path | None) -> None:
    """The record, as a file of the run's own folder, and the network, which stays where the store has it."""
    artifact = wandb.Artifact(
        f"run-{wandb_id(record.run_id)}",
        type="run",
        metadata={"run_id": record.run_id, "status": record.status},
    )
    copy = Path(run.dir) / "record.json"
    copy.write_text(record.to_json(), encoding="utf-8")
    artifact.add_file(str(copy), "record.json", policy="immutable", skip_cache=True)
    if network is not None:
        artifact.add_file(str(network.resolve()), "network.safetensors", policy="immutable", skip_cache=True)
    run.log_artifact(artifact, aliases=["latest", record.status])


def _settings(wandb: Any, init_timeout_seconds: float) -> Any:
    """Quiet, and nothing looked at but what is handed over."""
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
        "x_disable_stats": True,
        "x_disable_machine_info": True,
        "x_save_requirements": False,
    }
    # Releases differ in which of these they know, and refuse the others.
    return wandb.Settings(**{key: wanted[key] for key in wanted if key in wandb.Settings.model_fields})


def _name(record: Record) -> str:
    return f"{record.method} {record.target} seed {record.seed}"


def _tags(record: Record) -> list[str]:
    version = record.manifest.get("version")
    tags = [record.track, record.kind, record.status, *(["control"] if record.control else [])]
    return [tag[:64] for tag in (*tags, *([f"bench {version}"] if isinstance(version, str) else []))]


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """One level: `{"a": {"b": 1}}` as `{"a.b": 1}`; what is nested deeper, and lists, as JSON text."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = {f"{key}.{name}": each for name, each in value.items()} if isinstance(value, dict) else {key: value}
        for name, each in inner.items():
            flat[name] = json.dumps(each) if isinstance(each, dict | list | tuple) else each
    return {name: each for name, each in flat.items() if each is not None}


def record_digest(record: Record) -> str:
    """SHA-256 over a record's JSON: whether what was published is what is there now."""
    return hashlib.sha256(record.to_json().encode()).hexdigest()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _check_writable(folder: Path) -> None:
    probe = folder / ".writable"
    probe.touch()
    probe.unlink()

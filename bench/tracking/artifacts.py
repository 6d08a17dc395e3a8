"""What a W&B run used and made, as artifacts: the data set and the dense network, the record and the pruned network."""

import json
from pathlib import Path
from typing import Any

from bench.records.record import Record
from bench.tracking.values import wandb_id

__all__ = ["log_files", "use_inputs"]


def use_inputs(wandb: Any, run: Any, record: Record, store: Path) -> None:
    """The data set, by its fingerprint, and the dense network, with its weights where the store has them.

    Runs that began with the same network use the same version of one artifact, which is how they are found together.
    """
    fingerprint = record.manifest.get("data_fingerprint")
    name = record.track_fields.get("dataset")
    if isinstance(fingerprint, str) and isinstance(name, str):
        _use(run, _described(wandb, f"data-{name}", "dataset", {"fingerprint": fingerprint}))
    sha256 = record.manifest.get("dense_sha256")
    if isinstance(sha256, str) and sha256:
        about = {"weights_sha256": sha256, "track": record.track, "seed": record.seed}
        dense = _described(wandb, f"dense-{record.track}-s{record.seed}", "network", about)
        for weights in sorted(store.glob("dense/*/weights.safetensors")):
            if sha256 in (weights.parent / "dense.json").read_text(encoding="utf-8"):
                dense.add_file(str(weights.resolve()), "weights.safetensors", policy="immutable", skip_cache=True)
                break
        _use(run, dense)


def log_files(wandb: Any, run: Any, record: Record, network: Path | None) -> None:
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


def _described(wandb: Any, name: str, kind: str, about: dict[str, Any]) -> Any:
    """An artifact that holds what it is as a file: W&B tells versions apart by their files alone."""
    artifact = wandb.Artifact(_safe(name), type=kind, metadata=about)
    with artifact.new_file("about.json", mode="w", encoding="utf-8") as file:
        json.dump(about, file, sort_keys=True)
    return artifact


def _use(run: Any, artifact: Any) -> None:
    """Notes that the run used an artifact, which is uploaded with it where it is new.

    wandb 0.31 refuses `use_artifact` offline, though its files can say so: what `use_artifact` itself calls for a new
    artifact does it there.
    """
    if run.offline:
        run._log_artifact(artifact, is_user_created=True, use_after_commit=True)
    else:
        run.use_artifact(artifact)


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-._" else "-" for c in name)[:120]

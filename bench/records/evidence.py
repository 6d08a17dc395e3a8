"""What lies beside a record: its network, and a note that it was verified on another machine. Files, not records."""

import json
from dataclasses import dataclass
from pathlib import Path

__all__ = ["VERIFIED", "Evidence", "evidence_below"]

VERIFIED = "verified.json"
"""Written by `bench verify RUN --note` into the run's folder."""


@dataclass(frozen=True)
class Evidence:
    """Of one record.

    Attributes:
        network: its network lies beside it, so that its accuracy can be measured again.
        verified: it was run again on another machine, with an equal result.
    """

    network: bool = False
    verified: bool = False


def evidence_below(root: Path) -> dict[str, Evidence]:
    """By run id, the evidence for the records below a folder; a note that cannot be read counts for nothing."""
    found = {}
    for folder in {path.parent for name in ("network.safetensors", VERIFIED) for path in root.glob(f"*/{name}")}:
        found[folder.name] = Evidence((folder / "network.safetensors").is_file(), _verified(folder / VERIFIED))
    return found


def _verified(path: Path) -> bool:
    try:
        note = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(note, dict) and note.get("equal") is True and note.get("another_machine") is True

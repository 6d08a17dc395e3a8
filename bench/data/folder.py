"""Where data sets lie when nobody says."""

import os
from pathlib import Path

__all__ = ["data_folder"]


def data_folder(given: Path | None) -> Path:
    """`--data`, else `BENCH_DATA`, else a folder in the user's cache directory."""
    from platformdirs import user_cache_path

    return given or Path(os.environ.get("BENCH_DATA") or user_cache_path("bench") / "data")

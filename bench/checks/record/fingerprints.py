"""What is known of the built-in data sets: the fingerprint and the number of images, by validation split."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from bench.specs.track import Track

__all__ = ["KnownData", "known_data"]


@dataclass(frozen=True)
class KnownData:
    """A data set with its validation split.

    Attributes:
        fingerprint: as in `bench.data.splits.Data`.
        train, test: number of images; `train` without the validation images.
        bundled: the data set needs no files.
    """

    fingerprint: str
    train: int
    test: int
    bundled: bool


def known_data(track: Track) -> KnownData | None:
    """What is known of the track's data; None where that is nothing."""
    return _table().get((track.dataset, track.validation.images, track.validation.seed))


@cache
def _table() -> dict[tuple[str, int, int], KnownData]:
    text = (files("bench.leaderboard") / "fingerprints.toml").read_text(encoding="utf-8")
    return {
        (row["dataset"], row["validation_images"], row["validation_seed"]): KnownData(
            row["fingerprint"], row["train_images"], row["test_images"], row.get("bundled", False)
        )
        for row in tomllib.loads(text)["data"]
    }

"""The curve of a run that is under way, in a file beside its journal, for whoever wants to watch.

A run writes it, a watcher (W&B, in the command's process) reads it, whatever executor is between them. Nothing depends
on it: what counts is the curve in the record, and the file goes when there is one.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from bench.records.record import Point

__all__ = ["LIVE", "LiveCurve", "read_live"]

LIVE = "live.jsonl"
"""Name of the file in the run's folder."""


class LiveCurve:
    """Writes points to a file as they come; one that was there before is replaced.

    Args:
        path: of the file; its folder is made.
        before: points that come before those of the run itself: the dense network's.
    """

    def __init__(self, path: Path, before: Sequence[Point]) -> None:
        self._path, self._before, self._written = path, tuple(before), 0
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("", encoding="utf-8")
        self.write(())

    def write(self, curve: Sequence[Point]) -> None:
        """Appends what is new of the run's curve. A disk that is full costs the watcher, not the run."""
        points = [*self._before, *curve]
        lines = "".join(point.model_dump_json() + "\n" for point in points[self._written :])
        with contextlib.suppress(OSError):
            with self._path.open("a", encoding="utf-8") as file:
                file.write(lines)
            self._written = len(points)


def read_live(path: Path) -> list[Point]:
    """The points that are there; a line that is not whole yet ends them, and so does one that is no point."""
    points: list[Point] = []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError):
        return points
    for line in lines:
        try:
            points.append(Point.model_validate_json(line))
        except ValidationError:
            break
    return points

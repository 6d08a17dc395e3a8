"""What a run's process may take: time on the wall, and memory. Not the budget, which decides the result.

A method that has lost itself is ended by these; how much an honest run needs is known only roughly, so the limits that
nobody asked for are wide.
"""

import re
from dataclasses import dataclass
from typing import Literal

from bench.errors import UsageError

__all__ = ["Limits", "parse_memory", "parse_timeout", "stuck_after"]

_SECONDS = {"": 1, "s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}
_BYTES = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
_STUCK_FACTOR, _STUCK_SECONDS = 30.0, 30.0
FREE_SHARE = 0.9


@dataclass(frozen=True)
class Limits:
    """Limits of one run.

    Attributes:
        seconds: on the wall, waiting for others aside; `auto` for thirty times what the budget takes to train the
            dense network with, and half a minute; None for none.
        bytes: resident memory of the run's process and of what it starts; `auto` for nine tenths of what is free
            when it begins; None for none.
    """

    seconds: float | Literal["auto"] | None = "auto"
    bytes: int | Literal["auto"] | None = "auto"


def parse_timeout(text: str) -> float | Literal["auto"] | None:
    """`auto`, `none`, or a time: `90s`, `30min`, `2h`, seconds without a unit.

    Raises:
        UsageError: it is none of these, or not above zero.
    """
    return _parsed(text, "--timeout", _SECONDS, "90s, 30min or 2h")


def parse_memory(text: str) -> int | Literal["auto"] | None:
    """`auto`, `none`, or an amount: `800MB`, `4GB`, `4GiB`.

    Raises:
        UsageError: it is none of these, or not above zero.
    """
    found = _parsed(text, "--memory", _BYTES, "800MB or 4GB")
    return int(found) if isinstance(found, float) else found


def stuck_after(dense_seconds: float, dense_epochs: float, budget: float, unit: str) -> float:
    """When a run that nobody set a timeout for is taken to be stuck: seconds.

    Args:
        dense_seconds, dense_epochs: what the dense network's training took, in time and in epochs.
        budget: the run's budget, in `unit`: `dense_epochs` or `device_seconds`.
    """
    known = budget if unit == "device_seconds" else budget * dense_seconds / max(dense_epochs, 1e-9)
    return _STUCK_SECONDS + _STUCK_FACTOR * known


def _parsed(text: str, option: str, units: dict[str, int], examples: str) -> "float | Literal['auto'] | None":
    word = text.strip().lower()
    if word == "auto":
        return "auto"
    if word == "none":
        return None
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([a-z]*)", word)
    if found is None or found.group(2) not in units or not float(found.group(1)) > 0:
        raise UsageError(f"{option} {text!r}: give {examples}, auto or none.")
    return float(found.group(1)) * units[found.group(2)]

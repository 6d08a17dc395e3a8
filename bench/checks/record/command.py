"""The runs that a command means, from its words: what `bench run` would do, without doing it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from bench.errors import UsageError
from bench.networks.identity import NetworkIdentity
from bench.runner.inputs import TrackInputs
from bench.runner.jobs import Job, RunRequest, make_plan

__all__ = ["jobs_of"]

_MOST_WORDS = 400  # settings of one method; one seed and one target
_DECIDING = ("--method", "--track", "--target", "--seed", "--claim", "--budget", "--device", "--set")


@dataclass
class _Given:
    """Values by option."""

    values: dict[str, list[str]] = field(default_factory=dict)

    def all(self, option: str) -> list[str]:
        return self.values.get(option, [])

    def names(self, option: str) -> tuple[str, ...]:
        return tuple(name for value in self.all(option) for name in value.split(",") if name)

    def last(self, option: str) -> str | None:
        found = self.all(option)
        return found[-1] if found else None


def jobs_of(words: Sequence[str], device: Literal["cpu", "cuda"]) -> list[Job]:
    """The jobs of the command of a record; their ids say nothing, since no network and no images were looked at.

    Args:
        words: `bench run` and its options, with values.
        device: what `--device auto` was.

    Raises:
        UsageError: it is no `bench run`, has options that a record's command never has, or asks for what is not there.
    """
    if len(words) > _MOST_WORDS:
        raise UsageError(f"it has {len(words)} words; the command of one record has at most {_MOST_WORDS}.")
    if tuple(words[:2]) != ("bench", "run") or len(words) % 2:
        raise UsageError("it is not `bench run` with options and values.")
    given = _Given()
    for option, value in zip(words[2::2], words[3::2], strict=True):
        if option not in _DECIDING:
            raise UsageError(f"{option!r} is not among {', '.join(_DECIDING)}.")
        given.values.setdefault(option, []).append(value)
    if given.last("--device") not in (None, device):
        raise UsageError(f"--device is {given.last('--device')}, and the record is of {device}.")
    if not all(seed.isdecimal() for seed in given.all("--seed")):
        raise UsageError("--seed is no whole number.")
    request = RunRequest(
        methods=given.names("--method"),
        tracks=given.names("--track"),
        targets=tuple(given.all("--target")),
        seeds=tuple(int(seed) for seed in given.all("--seed")),
        settings=tuple(given.all("--set")),
        budget=given.last("--budget"),
        device="cpu",  # a GPU need not be here; the record says which it was
        claims=given.names("--claim"),
    )
    return make_plan(request, lambda _track, _device: TrackInputs(NetworkIdentity(), "", ""))

"""Claims: what papers say, as TOML files: published numbers, and how each is measured here.

A claim runs on a track's data set and network, but on a schedule of its own (the paper's, as far as it is known), apart
from the leaderboard's budgets. Its runs stand under a track named after it, so that no table mixes them with others.
Whether a number was reproduced is decided in `bench.leaderboard.verdicts.verdicts`, from records alone.
"""

import json
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bench.errors import UsageError
from bench.specs.target import Target
from bench.specs.toml_file import built_in, describe, file_of, parse_toml
from bench.specs.track import Track, load_track

__all__ = ["PREFIX", "Claim", "Measure", "Number", "claim_names", "load_claim"]

PREFIX = "claim-"
"""Tracks of claims are named with it."""

Measure = Literal[
    "macs_reduction",
    "macs_reduction_convolutions",
    "compression",
    "compression_weights",
    "filters_removed",
    "filters_removed_by_layer",
    "top1_lead",
]
Amount = Annotated[float, Field(ge=0, le=1e9)]
Text = Annotated[str, Field(min_length=1, max_length=2000)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Number(_Section):
    """One published number, or one point on the way to it.

    Attributes:
        measure: what is measured: `macs_reduction` and `macs_reduction_convolutions` (convolutions alone, as some
            papers count) in percent, `compression` and `compression_weights` (biases left out) in times,
            `filters_removed` and `filters_removed_by_layer` (the mean of the layers' shares) in percent, `top1_lead`
            over `rival` at the same target in points, paired by seed.
        claimed: the number, in the measure's unit; its one-sided 95 % bound over seeds must reach it.
        tolerance: by how much it may fall short, in the measure's unit.
        target: what the method is run at, such as `macs=0.1`, or `auto`.
        rival: for `top1_lead`: the method that is compared with.
        rival_settings: of the rival, by name, where they are not its own.
        significant: for `top1_lead`: the lead's bound must lie above the number, not only reach it.
        loss: top-1 on test that the pruned network may have lost against its dense network, in points; the other side
            of a size. None only for `top1_lead`.
        loss_tolerance: what is allowed on top of it, in points.
        source: where the number stands, and where the loss does; `ours` for what no paper says.
        published: whether a paper says it.
    """

    measure: Measure
    claimed: Amount
    tolerance: Amount = 0.0
    target: Text
    rival: Text | None = None
    rival_settings: dict[str, Any] = {}
    significant: bool = False
    loss: float | None = None
    loss_tolerance: Amount = 0.0
    source: Text
    published: bool = True

    @field_validator("target")
    @classmethod
    def _target_parses(cls, text: str) -> str:
        try:
            return str(Target.parse(text))
        except UsageError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _has_two_sides(self) -> "Number":
        if self.measure == "top1_lead":
            if self.rival is None:
                raise ValueError("top1_lead needs a rival: the method that is compared with")
        elif self.loss is None:
            raise ValueError(f"{self.measure} needs a loss: a size without an accuracy claims nothing")
        elif self.rival is not None or self.rival_settings or self.significant:
            raise ValueError("rival, rival_settings and significant are of top1_lead alone")
        return self

    @property
    def unit(self) -> str:
        """For people: `%`, `x` or `points`."""
        return {"top1_lead": "points", "compression": "x", "compression_weights": "x"}.get(self.measure, "%")


class Estimated(_Section):
    """What a claim may cost, where it has not been run.

    Attributes:
        hours_a_run: device-hours of one run, guessed.
        device: for which device.
        basis: how the guess was made.
    """

    hours_a_run: Annotated[float, Field(gt=0, le=1e6)]
    device: Text
    basis: Text


class Claim(_Section):
    """What one paper says of one network. Fields as in a claim's TOML file.

    Attributes:
        name: the file's stem.
        summary: one sentence for people.
        method: whose claim it is.
        paper: its reference.
        base: name of the track that gives data set, network and everything that `schedule` does not say.
        schedule: fields of a track that the claim sets, by name, sections merged.
        settings: of the method, by name.
        seeds: that a verdict needs.
        own_runs: whether the claim has runs of its own; False: it is read from those of the track's table.
        numbers: what is said.
        tried: what was tried, where a number was not reproduced.
        estimated: cost of a run that nobody has made yet.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=80)]
    summary: Text
    method: Text
    paper: Text
    base: Annotated[str, Field(alias="track")]
    schedule: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, 2)
    own_runs: bool = True
    numbers: Annotated[tuple[Number, ...], Field(min_length=1)]
    tried: str = ""
    estimated: Estimated | None = None

    @model_validator(mode="after")
    def _the_tracks_runs_have_its_schedule(self) -> "Claim":
        if self.schedule and not self.own_runs:
            raise ValueError("own_runs = false reads the track's own runs: they have no other schedule")
        return self

    @cached_property
    def track(self) -> Track:
        """The track that the claim's runs are on.

        Raises:
            UsageError: there is no such base, or the schedule does not fit it.
        """
        base = load_track(self.base)
        if not self.own_runs:
            return base
        fields = _merged(base.model_dump(mode="json"), self.schedule)
        own = {
            "name": PREFIX + self.name,
            "summary": f"claim of {self.paper}: {self.summary}",
            "targets": list(self.targets),
            "seeds": list(self.seeds),
        }
        try:
            return Track.model_validate({**fields, **own})
        except ValidationError as error:
            raise UsageError(f"claim {self.name}: its schedule: {describe(error)}") from None

    @property
    def targets(self) -> tuple[str, ...]:
        """Those of the numbers, each once."""
        return tuple(dict.fromkeys(number.target for number in self.numbers))

    @property
    def methods(self) -> tuple[str, ...]:
        """All methods that the claim's numbers need, but for the `dense` control."""
        rivals = [number.rival for number in self.numbers if number.rival]
        return tuple(dict.fromkeys((self.method, *rivals)))

    @property
    def command(self) -> str:
        """What runs it."""
        return f"bench run --claim {self.name}"

    def setting_words(self) -> tuple[str, ...]:
        """The settings as `--set` takes them, for the claim's own method."""
        return _words(self.method, self.settings)

    def sides(self) -> tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]:
        """What is held against each other: method, its settings as `--set` takes them, and its targets.

        The `dense` control is the last.
        """
        sides: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for number in self.numbers:
            sides.setdefault((self.method, self.setting_words()), []).append(number.target)
            if number.rival:
                sides.setdefault((number.rival, _words(number.rival, number.rival_settings)), []).append(number.target)
        found = [(name, words, tuple(dict.fromkeys(targets))) for (name, words), targets in sides.items()]
        return (*found, ("dense", (), ("none",)))


def _words(method: str, settings: dict[str, Any]) -> tuple[str, ...]:
    return tuple(f"{method}.{name}={_word(value)}" for name, value in settings.items())


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _merged(fields: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(fields)
    for name, value in changes.items():
        old = merged.get(name)
        merged[name] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def claim_names() -> tuple[str, ...]:
    """Names of the built-in claims."""
    return tuple(built_in("claim"))


def load_claim(name: str) -> Claim:
    """The built-in claim called `name`, or the one in the file `name` when it ends in `.toml`.

    Raises:
        UsageError: no such claim or file, or a field of it is missing, unknown or wrong; every such field is named.
    """
    path = file_of("claim", name)
    return parse_toml(Claim, path.read_bytes(), f"claim {name}", path.stem)

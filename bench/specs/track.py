"""Tracks: what is compared with what, as TOML files that anybody can write.

A track fixes everything that two rows of a table must share: data set and validation split, network and its
prunable groups, the dense recipe, the fine-tuning recipe, the budget, the targets, the seeds, the threads and
the precision. The built-in tracks are the files of `leaderboard/tracks/`; a path to another file works alike.
"""

from collections.abc import Mapping, Set
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bench.errors import UsageError
from bench.specs.budget import Unit
from bench.specs.sources import ImagesSection, unpacked
from bench.specs.target import Target
from bench.specs.toml_file import built_in, file_of, parse_toml

__all__ = ["PLAN_FIELDS", "STATUS_FIELDS", "Recipe", "Track", "deciding_fields", "load_track", "track_names"]

PLAN_FIELDS = frozenset({"summary", "targets", "seeds", "ranked", "latency_batch", "tries"})
"""Fields of a track that decide no run: what is planned and said, and how long an inference takes."""
STATUS_FIELDS = frozenset({"floor", "tolerance"})
"""Fields that decide whether a run counts, and no number of it."""

Positive = Annotated[float, Field(gt=0, le=1e9)]
Share = Annotated[float, Field(gt=0, lt=1)]
Setting = bool | int | float | str | list[Any]
_NO_DEFAULT = object()


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Recipe(_Section):
    """How a network is trained.

    The learning rate warms up over the first `warmup` share of a phase and anneals to zero along a half cosine
    at its end, however long the phase turns out to be.

    Attributes:
        epochs: passes over the training split; for fine-tuning None, since it takes what the budget leaves.
        optimiser: `sgd` (Nesterov momentum) or `adam`.
        learning_rate: the peak.
        momentum: of `sgd`.
        weight_decay: L2, on weights with two or more dimensions only (not on biases and BatchNorm).
        batch_size: images a step.
        warmup: share of the phase over which the learning rate rises linearly.
        label_smoothing: of the cross-entropy loss.
        clip_norm: gradients are scaled down to this norm over all parameters where they exceed it; None for never.
        augment: what is done to training images: `crop` (zero padding, random shift) where the images are in memory,
            `resized-crop` (a random part, scaled to the size) where they are streamed, `flip` (left-right).
    """

    epochs: Positive | None = None
    optimiser: Literal["sgd", "adam"] = "sgd"
    learning_rate: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    batch_size: Annotated[int, Field(ge=2, le=2**20)] = 128
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    clip_norm: Positive | None = None
    augment: tuple[Literal["crop", "flip", "resized-crop"], ...] = ()


class Validation(_Section):
    """The validation split, carved from the training images.

    Attributes:
        images: how many.
        seed: of the draw, which is stratified by class; the same for all methods and seeds of the track.
    """

    images: Annotated[int, Field(gt=0, lt=2**31)]
    seed: int = 0


class TrackBudget(_Section):
    """What a run may spend, the dense network's training included, in either unit (the first is the default)."""

    dense_epochs: Positive
    device_seconds: Positive | None = None
    search_share: Share = 0.3


class Precision(_Section):
    """Arithmetic of training and evaluation, by kind of device."""

    cpu: Literal["float32", "bfloat16"] = "float32"
    cuda: Literal["float32", "bfloat16"] = "bfloat16"


class Track(_Section):
    """One comparison. Fields as in a track's TOML file.

    Attributes:
        name: the file's stem.
        summary: one sentence for people.
        dataset: name of a data set.
        network: name of a network, `timm:NAME`, or one's own: `FILE.py:CLASS` or `package.module:function`.
        settings: of the constructor of one's own network, or of timm's model, by name.
        weights: file of a trained network (safetensors, or a state_dict of torch); then nothing is trained before
            pruning, the dense network costs nothing, and the budget is the fine-tuning share.
        images: images of one's own in place of a named data set.
        root: the folder that paths of `network`, `weights` and `images` begin in: the track file's. It is not
            written down with the other fields.
        prunable: patterns of layer names whose channels may be pruned; None for the network's own choice.
        ranked: whether the track is large enough to rank methods; a smoke track is not.
        floor: least validation top-1 of the dense network; below it a record is `undertrained`.
        tolerance: allowed deviation from a target, relative to the target.
        threads: CPU threads of a run.
        latency_batch: the larger batch at which latency is measured, beside batch 1.
        validation, dense, finetune, budget, precision: the sections. `dense.epochs` is None where weights are given.
        targets: the standard targets.
        seeds: the standard seeds.
        tries: by method, how many settings of it were tried on validation before its own were kept; for a method that
            is not named here, nobody says.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._=:,+-]*$", max_length=100)]
    summary: str
    dataset: str
    network: str
    settings: dict[str, Setting] = {}
    weights: Annotated[str, Field(min_length=1)] | None = None
    images: ImagesSection | None = None
    root: Annotated[Path | None, Field(exclude=True, repr=False)] = None
    prunable: tuple[str, ...] | None = None
    ranked: bool = True
    floor: Annotated[float, Field(ge=0, lt=1)]
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.02
    threads: Annotated[int, Field(ge=1, le=1024)] = 2
    latency_batch: Annotated[int, Field(ge=2, le=65536)] = 64
    validation: Validation
    dense: Recipe
    finetune: Recipe
    budget: TrackBudget
    precision: Precision = Precision()
    targets: tuple[str, ...]
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    tries: dict[str, Annotated[int, Field(ge=1, le=10**6)]] = {}

    @model_validator(mode="before")
    @classmethod
    def _sections(cls, fields: Any) -> Any:
        return unpacked(fields) if isinstance(fields, Mapping) else fields

    @field_validator("targets")
    @classmethod
    def _targets_parse(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(str(Target.parse(text)) for text in texts)
        except UsageError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _budget_covers_dense(self) -> "Track":
        if self.weights is None and self.dense.epochs is None:
            raise ValueError(
                "dense.epochs is missing: the dense recipe needs its length (or give trained weights in [network])"
            )
        if self.weights is not None and self.dense.epochs is not None:
            raise ValueError("dense.epochs is not taken beside weights, which are trained already: leave it out")
        if self.finetune.epochs is not None:
            raise ValueError("finetune.epochs is not taken: fine-tuning lasts as long as the budget allows")
        if self.dense.epochs is not None and self.budget.dense_epochs <= self.dense.epochs:
            raise ValueError(
                f"budget.dense_epochs = {self.budget.dense_epochs:g} leaves nothing for pruning after "
                f"dense.epochs = {self.dense.epochs:g}"
            )
        return self

    @cached_property
    def parsed_targets(self) -> tuple[Target, ...]:
        """The standard targets."""
        return tuple(Target.parse(text) for text in self.targets)

    def scaled(self, amount: float, unit: Unit) -> "Track":
        """The same track on another budget.

        In dense epochs the dense recipe shrinks or grows with the budget, so that the pruning share stays what it
        is; in device seconds only the limit changes (how long the dense recipe takes is up to the device).
        """
        if unit == "device_seconds":
            return self.model_copy(update={"budget": self.budget.model_copy(update={"device_seconds": amount})})
        epochs = self.dense.epochs
        if epochs is not None:
            epochs *= amount / self.budget.dense_epochs
        return self.model_copy(
            update={
                "budget": self.budget.model_copy(update={"dense_epochs": amount}),
                "dense": self.dense.model_copy(update={"epochs": epochs}),
            }
        )

    def at(self, path: str) -> Path:
        """A path of the track file, which begins in the file's folder."""
        return (self.root or Path()) / path


def deciding_fields(fields: Mapping[str, Any], also: Set[str] = frozenset()) -> dict[str, Any]:
    """The fields of a track that decide a run, those at their default left out, so that a new field changes nothing.

    Args:
        fields: of a track, as JSON values, as a record has them.
        also: fields to leave out beside `PLAN_FIELDS`.
    """
    kept = {name: value for name, value in fields.items() if name not in PLAN_FIELDS and name not in also}
    return _not_default(Track, kept)


def _not_default(section: type[BaseModel], fields: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in fields.items():
        field = section.model_fields.get(name)
        annotation: Any = None if field is None else field.annotation
        inner = _section_of(annotation)
        if inner is not None and isinstance(value, Mapping):
            value = _not_default(inner, value)
            default: Any = {}
        else:
            default = field.get_default() if field is not None and not field.is_required() else _NO_DEFAULT
        if value != (list(default) if isinstance(default, tuple) else default):
            found[name] = value
    return found


@cache
def _section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, if it holds one."""
    for each in (annotation, *get_args(annotation)):
        if isinstance(each, type) and issubclass(each, BaseModel):
            return each
    return None


def track_names() -> tuple[str, ...]:
    """Names of the built-in tracks."""
    return tuple(built_in("track"))


def load_track(name: str) -> Track:
    """The built-in track called `name`, or the one in the file `name` when it ends in `.toml`.

    Raises:
        UsageError: no such track or file, or a field of it is missing, unknown or wrong; every such field is named.
    """
    path = file_of("track", name)
    return parse_track(path.read_bytes(), name, path.stem, path.resolve().parent if name.endswith(".toml") else None)


def parse_track(content: bytes, source: str, stem: str, root: Path | None = None) -> Track:
    """A track from the bytes of a TOML file; `source` names it in errors, `stem` is its name, `root` its folder.

    Raises:
        UsageError: not TOML, or a field is missing, unknown or wrong.
    """
    return parse_toml(Track, content, f"track {source}", stem, root=root)

"""What a track file says of a network and of images that are a user's own: sections `[network]` and `[images]`.

Where they lie, how they are taken, and nothing that has been read of them: loading is `bench.networks.files`'s and
`bench.data.own`'s.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["ImagesSection", "unpacked"]

Side = Annotated[int, Field(ge=1, le=16384)]
_NETWORK = {"source": "network", "weights": "weights", "settings": "settings"}


class ImagesSection(BaseModel):
    """Images of one's own.

    Attributes:
        source: a folder with a folder of images for each class (below `train`, `val` and `test`, or one that is
            split), an `.npz` file, or `FILE.py:FUNCTION` or `package.module:function` that gives a torch `Dataset`.
        size: (height, width) in pixels that a network is given.
        channels: 1 for grey, 3 for colour.
        classes: their number, or their names in the order of the labels.
        mean, std: by channel, on pixels scaled to [0, 1]: the normalisation that the network was trained with.
        flip: whether a left-right flip leaves the label as it is.
        streamed: decode images as batches need them, instead of all at once into memory.
        margin: an image that has not `size` is scaled until it covers so many times `size`; the centre is taken.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    source: Annotated[str, Field(min_length=1)]
    size: tuple[Side, Side]
    channels: Literal[1, 3]
    classes: Annotated[int, Field(ge=2)] | Annotated[tuple[str, ...], Field(min_length=2)]
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]
    flip: bool = False
    streamed: bool = False
    margin: Annotated[float, Field(ge=1, le=4)] = 1.0

    @model_validator(mode="after")
    def _a_value_a_channel(self) -> "ImagesSection":
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels:
                raise ValueError(f"{name} has {len(values)} numbers, and there are {self.channels} channels")
        return self

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names of the classes, where there are names."""
        return None if isinstance(self.classes, int) else self.classes

    @property
    def class_count(self) -> int:
        """How many labels there are."""
        return self.classes if isinstance(self.classes, int) else len(self.classes)


def unpacked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A track's fields with its sections `[network]` and `[images]` taken apart, and what follows from them.

    A section `[network]` becomes the fields `network`, `weights` and `settings`. Images of one's own are a data set
    with the track's name. Where weights are given there is nothing to train: the recipe of networks that begin anew is
    then that of fine-tuning, unless `[dense]` says another, without `epochs`.

    Raises:
        ValueError: a section has unknown or missing keys, or two things exclude each other.
    """
    fields = dict(fields)
    section = fields.get("network")
    if isinstance(section, Mapping):
        if unknown := sorted(set(section) - set(_NETWORK)):
            raise ValueError(f"[network] does not take {', '.join(unknown)}. It takes {', '.join(_NETWORK)}")
        if "source" not in section:
            raise ValueError("[network] has no source: FILE.py:CLASS, package.module:function or timm:NAME")
        fields.pop("network")
        fields.update({_NETWORK[key]: value for key, value in section.items()})
    if fields.get("images") is not None and "dataset" not in fields:
        fields["dataset"] = fields.get("name")
    if fields.get("weights") is not None and "dense" not in fields and isinstance(fields.get("finetune"), Mapping):
        fields["dense"] = dict(fields["finetune"])
    return fields

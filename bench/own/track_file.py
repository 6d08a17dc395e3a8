"""A proposed track as a commented TOML file, and as lines for people."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.own.propose import Proposal
from bench.records.store import write_text
from bench.specs.track import parse_track

__all__ = ["as_toml", "free_path", "lines", "write_track"]

_SHOWN = 12


def free_path(name: str, folder: Path) -> Path:
    """Where the file will be.

    Raises:
        UsageError: the name cannot be a track's, or the file is there already.
    """
    name = name.removesuffix(".toml")
    if not name or not all(c.isalnum() or c in "._=+-" for c in name) or not name[0].isalnum() or not name.isascii():
        raise UsageError(f"{name!r} cannot be a track's name. Use letters, digits, '-', '_' and '.', a letter first.")
    path = folder / f"{name}.toml"
    if path.exists():
        raise UsageError(f"{path} is there already. Give another name, or delete it.")
    return path


def write_track(made: Proposal, path: Path) -> None:
    """Writes the file, after a check that bench reads it.

    Raises:
        UsageError: it does not.
        StoreError: the folder cannot be written.
    """
    text = as_toml(made, path.stem)
    parse_track(text.encode(), str(path), path.stem, path.resolve().parent)
    write_text(path, text)


def as_toml(made: Proposal, name: str) -> str:
    """The track file's text."""
    import jinja2

    asked, recipe = made.request, made.recipe
    channels, height, width = made.shape
    given = asked.weights is not None
    train = len(made.parts.train.names) - made.validation
    values = {
        "name": name,
        "summary": _word(f"{asked.network} on {asked.images}."),
        "floor": made.floor,
        "tolerance": made.tolerance,
        "threads": made.threads,
        "groups": [f"{group}: {wide} channels" for group, wide in made.groups.items()] or ["none"],
        "left_out": [f"{group}: {' '.join(reason.split())[:200]}" for group, reason in made.left_out.items()],
        "network": _word(asked.network),
        "weights": _word(asked.weights) if asked.weights is not None else None,
        "settings": ", ".join(f"{_key(key)} = {_word(value)}" for key, value in (asked.settings or {}).items()),
        "images": _word(asked.images),
        "height": height,
        "width": width,
        "channels": channels,
        "classes": made.classes if isinstance(made.classes, int) else _word(list(made.classes)),
        "normalisation": _normalisation(made),
        "mean": list(made.mean),
        "std": list(made.std),
        "streamed": _word(made.streamed),
        "validation": made.validation,
        "validation_words": "the folder val" if made.parts.held_out else "carved from the training images",
        "dense": not given,
        "dense_epochs": recipe.dense_epochs,
        "optimiser": _word(recipe.optimiser),
        "rate": recipe.learning_rate,
        "finetune_rate": recipe.learning_rate if given else recipe.learning_rate / 2,
        "decay": recipe.weight_decay,
        "batch": recipe.batch_size,
        "crop": '"resized-crop", a random part' if made.streamed else '"crop", a random shift',
        "budget": recipe.dense_epochs + recipe.finetune_epochs,
        "budget_words": (
            f"1 is a pass over the {train} training images with the dense network, about {recipe.epoch_seconds:.2g} "
            "s here. "
            + (
                "All of it is for pruning and fine-tuning."
                if given
                else f"{recipe.dense_epochs} train the dense network."
            )
        ),
    }
    text = (files("bench.cli") / "templates" / "track.toml.jinja").read_text(encoding="utf-8")
    return jinja2.Template(text, undefined=jinja2.StrictUndefined, keep_trailing_newline=True).render(values)


def lines(made: Proposal, path: Path) -> list[str]:
    """What was found and written, and what to type next."""
    recipe, parts = made.recipe, made.parts
    total = made.recipe.dense_epochs + recipe.finetune_epochs
    return [
        f"network: {made.params:,} parameters, {made.macs:,} MACs an image"
        + ("" if made.top1 is None else f", top-1 {made.top1:.3f} on training images with the given weights"),
        f"images: {len(parts.train.names) - made.validation} to train, {made.validation} for validation, "
        f"{len(parts.test.names)} for test",
        f"channel groups ({len(made.groups)}): "
        f"{_few([f'{name} {wide}' for name, wide in made.groups.items()]) or 'none'}",
        *(f"left out: {name}: {reason}" for name, reason in list(made.left_out.items())[:_SHOWN]),
        *([f"left out: {len(made.left_out) - _SHOWN} more, see {path}"] if len(made.left_out) > _SHOWN else []),
        f"budget: {total} dense epochs of about {recipe.epoch_seconds:.2g} s on this {made.request.device}; a run "
        f"trains for about {recipe.run_seconds:.0f} s",
        f"wrote {path}",
        "next",
        f"  bench run --track {path} --method all",
        f"  bench best --track {path} --target macs=0.5",
    ]


def _normalisation(made: Proposal) -> str:
    if made.normalisation == "measured":
        return "Mean and standard deviation of the training images, scaled to [0, 1]: what the network must be given."
    return f"Normalisation {made.normalisation}: with it the given weights are right most often."


def _few(words: Sequence[str]) -> str:
    return ", ".join(words[:_SHOWN]) + (f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else "")


def _key(name: str) -> str:
    return name if name.replace("_", "").isalnum() and name.isascii() else _word(name)


def _word(value: Any) -> str:
    """A value as TOML, which JSON's strings, numbers and lists are."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

"""`bench new track`: what is typed, handed to `bench.own.propose`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.errors import UsageError

__all__ = ["new_track"]


def new_track(
    name: Annotated[str, typer.Argument(help="Name of the track: NAME.toml is written into the present folder.")],
    network: Annotated[
        str,
        typer.Option(help="FILE.py:CLASS, package.module:function, timm:NAME, or a name from `bench list networks`."),
    ],
    images: Annotated[
        str,
        typer.Option(
            help="Folder with a folder of images for each class (below train, val, test, or one that is split), an "
            ".npz file, or FILE.py:FUNCTION (package.module:function) that gives a torch Dataset."
        ),
    ],
    weights: Annotated[
        str | None,
        typer.Option(help="The trained network: safetensors or a state_dict.  [default: the track trains it]"),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="HEIGHTxWIDTH that images are given in.  [default: the size that all have]")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE for the network's constructor; may be given again.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda: where speed is measured.")] = "auto",
) -> None:
    """Write a track from your own network, weights and images, after trying all three."""
    from bench.own.look import parse_size
    from bench.own.propose import TrackRequest, checked_network, propose
    from bench.own.track_file import free_path, lines, write_track
    from bench.runner.jobs import resolve_device

    path = free_path(name, Path())
    asked = TrackRequest(
        name=path.stem,
        network=checked_network(network),
        images=images,
        weights=weights,
        size=parse_size(size) if size is not None else None,
        settings=_settings(set_ or []),
        device=resolve_device(device),
    )
    made = propose(asked, say=lambda text: print(text, file=sys.stderr, flush=True))
    write_track(made, path)
    print("\n".join(lines(made, path)))


def _settings(texts: list[str]) -> dict[str, Any]:
    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"--set {text!r}: write KEY=VALUE with a name of the constructor's arguments.")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = {"True": True, "False": False}.get(value, value)
    return settings

"""`bench groups`: what structured pruning can do with networks."""

from typing import Annotated

import typer

from bench.cli.options import names_in
from bench.records.text import json_text

__all__ = ["groups"]


def groups(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NETWORK...", help="Networks as in a track: resnet20, timm:NAME, torchvision:NAME, ..."),
    ],
    size: Annotated[
        str | None,
        typer.Option(help="Height and width of the images in pixels: 64, or 48x80.  [default: the network's]"),
    ] = None,
    channels: Annotated[int | None, typer.Option(min=1, help="Channels of an image.  [default: the network's]")] = None,
    classes: Annotated[int | None, typer.Option(min=1, help="Number of labels.  [default: the network's]")] = None,
    prunable: Annotated[
        list[str] | None, typer.Option(help="Pattern of layer names; may be given again.  [default: the network's]")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="Also prune a copy to this size by l1 norms, such as macs=0.5, and prove it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """Say what structured pruning can do with networks: prunable MACs, groups, and what is left out and why.

    Exit code 1 if a network cannot be built, counted or pruned at all, or misses a target.
    """
    from bench.cli.surveys import as_json as values
    from bench.cli.surveys import print_surveys, survey_of
    from bench.own.look import parse_size
    from bench.records.console import make_console

    targets = tuple(target or ())
    surveys = [
        survey_of(name, parse_size(size) if size else None, channels, classes, tuple(prunable or ()) or None, targets)
        for name in names_in(names)
    ]
    if as_json:
        print(json_text(values(surveys)))
    else:
        print_surveys(surveys, make_console())
    raise typer.Exit(int(not all(each.fulfilled for each in surveys)))

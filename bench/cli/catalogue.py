"""What is installed: methods and their settings, tracks, data sets, networks and claims, for `bench list`."""

from collections.abc import Callable

from rich.table import Table

from bench.errors import unknown_name

__all__ = ["catalogue", "catalogue_table", "unusable"]

Row = dict[str, str]


def _methods() -> list[Row]:
    from bench.trial.methods import method_classes

    return [
        {
            "name": name,
            "kind": method.kind,
            "role": "control" if method.control else "method",
            "starts": method.starts,
            "reference": method.reference,
            "settings": ", ".join(f"{key}={field.default}" for key, field in method.Config.model_fields.items()),
        }
        for name, method in method_classes().items()
    ]


def _settings(method: str) -> list[Row]:
    from bench.trial.methods import method_class

    return [
        {"setting": name, "default": str(field.default), "what it does": field.description or ""}
        for name, field in method_class(method).Config.model_fields.items()
    ]


def _tracks() -> list[Row]:
    from bench.specs.track import load_track, track_names

    tracks = [load_track(name) for name in track_names()]
    return [
        {
            "name": track.name,
            "dataset": track.dataset,
            "network": track.network,
            "budget": f"{track.budget.dense_epochs:g}ep"
            + (f", {track.budget.device_seconds:g}s" if track.budget.device_seconds else ""),
            "targets": ", ".join(track.targets),
            "summary": track.summary,
        }
        for track in tracks
    ]


def _datasets() -> list[Row]:
    from bench.data.base import dataset, dataset_names

    found = [dataset(name) for name in dataset_names()]
    return [
        {
            "name": each.name,
            "image": "x".join(map(str, each.shape)),
            "classes": str(each.classes),
            "summary": each.summary,
            "reference": each.reference,
        }
        for each in found
    ]


def _networks() -> list[Row]:
    from bench.networks.registry import all_networks

    rows = [{"name": each.name, "summary": each.summary, "reference": each.reference} for each in all_networks()]
    return [
        *rows,
        {"name": "timm:NAME", "summary": "any model of timm, untrained", "reference": "Wightman, timm"},
        {
            "name": "torchvision:NAME",
            "summary": "any classifier of torchvision, untrained",
            "reference": "https://github.com/pytorch/vision",
        },
    ]


def _claims() -> list[Row]:
    from bench.specs.claim import claim_names, load_claim

    return [
        {
            "name": claim.name,
            "method": claim.method,
            "track": claim.base,
            "numbers": "; ".join(f"{n.measure} {n.claimed:g} {n.unit}" for n in claim.numbers if n.published),
            "paper": claim.paper,
            "run it with": claim.command,
        }
        for claim in map(load_claim, claim_names())
    ]


# On a terminal: a track's name and summary say the first, the others are too long.
_UNSHOWN = {"tracks": ("dataset", "network"), "methods": ("settings",), "claims": ("paper", "run it with")}


_LISTS: dict[str, Callable[[], list[Row]]] = {
    "methods": _methods,
    "tracks": _tracks,
    "datasets": _datasets,
    "networks": _networks,
    "claims": _claims,
}


def catalogue(what: str) -> list[Row]:
    """Rows of one list, or of the settings of the method of that name.

    Raises:
        UsageError: there is no such list, nor such a method.
    """
    if what in _LISTS:
        return _LISTS[what]()
    from bench.trial.methods import method_classes

    if what in method_classes():
        return _settings(what)
    raise unknown_name("list", what, [*_LISTS, *method_classes()])


def unusable(what: str) -> tuple[str, ...]:
    """One sentence for each plugin that belongs into a list and could not be imported."""
    from bench.data.base import Dataset
    from bench.networks.base import Network
    from bench.plugins import discover
    from bench.trial.method import Method

    base = {"methods": Method, "datasets": Dataset, "networks": Network}.get(what)
    return () if base is None else discover(f"bench.{what}", f"bench.{what}", base).complaints


def catalogue_table(what: str, rows: list[Row]) -> Table:
    """The rows as a table for a terminal."""
    caption = "settings of one: bench list NAME" if what == "methods" else None
    table = Table(title=what if what in _LISTS else f"settings of {what}", caption=caption, show_lines=True)
    shown = [name for name in (rows[0] if rows else ()) if name not in _UNSHOWN.get(what, ())]
    for name in shown:
        table.add_column(name, no_wrap=name == "name", overflow="fold")
    for row in rows:
        table.add_row(*(row[name] for name in shown))
    return table

"""What changed between a record, or a dense network, and what the same words give now: named, for people."""

from collections.abc import Iterator, Mapping
from typing import Any

from bench.specs.run import RunSpec
from bench.specs.track import deciding_fields

__all__ = ["changed_inputs", "changed_wishes", "flat", "inputs_of"]


def inputs_of(spec: RunSpec) -> dict[str, Any]:
    """What a run is made from beside what was asked for, as JSON values: the part of a manifest that ids go by."""
    return {
        "protocol": spec.protocol,
        "method_sha256": spec.method_sha256,
        "network_sha256": spec.network_sha256,
        "weights_sha256": spec.weights_sha256,
        "data_sha256": spec.data_sha256,
        "data_fingerprint": spec.data_fingerprint,
        "sources": {kind: dict(modules) for kind, modules in spec.sources.items()},
    }


def changed_inputs(then: Mapping[str, Any], now: Mapping[str, Any], method: bool = True) -> list[str]:
    """What a run is made from and is not what it was: `network source (mine.blocks)`, `weights`, `images`, ...

    Args:
        then: a manifest, or what a dense network was trained from; what it does not say is not compared.
        now: see `inputs_of`.
        method: whether the method counts.
    """

    def differs(name: str) -> bool:
        return name in then and name in now and then[name] != now[name]

    found = []
    if method and differs("method_sha256") and then.get("protocol"):  # hashed otherwise before there were protocols
        found.append("method source" + _modules(then, now, "method"))
    if differs("network_sha256"):
        found.append("network source" + _modules(then, now, "network"))
    if differs("weights_sha256"):
        found.append("weights that a file gives the network")
    if differs("data_fingerprint"):
        found.append("images")
    elif differs("data_sha256"):
        found.append("normalisation of the images")
    if differs("protocol"):
        found.append(f"harness (protocol {then['protocol']}, now {now['protocol']})")
    return found


def changed_wishes(config: Mapping[str, Any], track_fields: Mapping[str, Any], spec: RunSpec) -> list[str]:
    """Which settings and fields of the track are not those of `spec`: `setting pairs`, `track dense.epochs`, ..."""
    tracks = [deciding_fields(fields) for fields in (track_fields, spec.track.model_dump(mode="json"))]
    found = [f"setting {name}" for name in _differing(config, spec.config)]
    return found + [f"track's {name}" for name in _differing(*tracks)]


def flat(fields: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested fields by names with dots."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found


def _differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    old, new = flat(then), flat(now)
    yield from (name for name in sorted({*old, *new}) if old.get(name) != new.get(name))


def _modules(then: Mapping[str, Any], now: Mapping[str, Any], kind: str) -> str:
    """In brackets, the modules and libraries that are not what they were; empty where that is not known."""
    old, new = (_kind(inputs, kind) for inputs in (then, now))
    if not old or not new:
        return ""
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return f" ({', '.join(_word(name, old.get(name), new.get(name)) for name in names)})" if names else ""


def _word(name: str, old: Any, new: Any) -> str:
    if str(old).startswith("==") and str(new).startswith("=="):
        return f"{name} {str(old)[2:].strip()}, now {str(new)[2:].strip()}"
    return name if old and new else f"{name} is new" if new else f"{name} is gone"


def _kind(inputs: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    sources = inputs.get("sources")
    found = sources.get(kind) if isinstance(sources, Mapping) else None
    return found if isinstance(found, Mapping) else {}

"""Methods by name, those of other distributions too. What a method is stands in `bench.trial.method`."""

from bench.plugins import discover, find
from bench.trial.method import Method

__all__ = ["method_class", "method_classes"]


def method_classes() -> dict[str, type[Method]]:
    """All methods by name, controls first."""
    found: dict[str, type[Method]] = discover("bench.methods", "bench.methods", Method).classes
    return dict(sorted(found.items(), key=lambda each: (not each[1].control, each[0])))


def method_class(name: str) -> type[Method]:
    """The method called `name`.

    Raises:
        UsageError: there is none; the near names are listed.
    """
    found: type[Method] = find("bench.methods", "bench.methods", Method, name)
    return found

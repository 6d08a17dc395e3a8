"""What a pruned network must reach: `macs=0.5` (keep half), `params=0.01`, `auto` or `none`."""

from dataclasses import dataclass
from typing import Literal

from bench.errors import UsageError

__all__ = ["Target"]

_MEASURES = ("macs", "params")


@dataclass(frozen=True)
class Target:
    """The size to reach, as the ratio of the dense network that is kept.

    Attributes:
        measure: `macs` (multiply-accumulates of one forward pass), `params` (parameters; for an unstructured
            method the nonzero ones), `auto` (the method decides, by its own constraint) or `none` (`dense`).
        ratio: share kept, inside (0, 1); None for `auto` and `none`.
    """

    measure: Literal["macs", "params", "auto", "none"]
    ratio: float | None = None

    def __post_init__(self) -> None:
        if self.measure not in (*_MEASURES, "auto", "none"):
            raise UsageError(f"target {self.measure!r}: use macs=R, params=R or auto, with R inside (0, 1).")
        if self.measure in _MEASURES and not (self.ratio is not None and 0 < self.ratio < 1):
            raise UsageError(
                f"target {self.measure}={self.ratio} is outside (0, 1): it is the share of the dense network "
                f"that is kept, so {self.measure}=0.25 keeps a quarter."
            )
        if self.measure not in _MEASURES and self.ratio is not None:
            raise UsageError(f"target {self.measure} takes no number.")

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Reads `macs=0.5`, `params=0.01`, `auto` or `none`.

        Raises:
            UsageError: the text is none of these, or the ratio is outside (0, 1).
        """
        measure, equals, number = text.strip().partition("=")
        if not equals:
            if measure in ("auto", "none"):
                return cls(measure)  # type: ignore[arg-type]
            raise UsageError(f"target {text!r}: use macs=R, params=R or auto, with R inside (0, 1).")
        if measure not in _MEASURES:
            raise UsageError(f"target {text!r}: {measure!r} is not measured. Use macs=R or params=R.")
        try:
            ratio = float(number)
        except ValueError:
            raise UsageError(f"target {text!r}: {number!r} is not a number inside (0, 1).") from None
        return cls(measure, ratio)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return self.measure if self.ratio is None else f"{self.measure}={self.ratio}"

    @property
    def has_size(self) -> bool:
        """Whether there is a size to meet (`macs` or `params`)."""
        return self.ratio is not None

    def met_by(self, reached: float, tolerance: float) -> bool:
        """Whether a network of `reached` times the dense size meets the target, from either side.

        Args:
            reached: the ratio that was reached.
            tolerance: allowed deviation, relative to the target (0.02 is 2 % of the target).
        """
        return self.ratio is None or abs(reached / self.ratio - 1) <= tolerance

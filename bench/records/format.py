"""Numbers of a record as people read them, the same in a terminal and on a page. Tables and columns are elsewhere."""

from bench.records.record import Record

__all__ = ["duration", "milliseconds", "percent", "quantity", "spent_text"]


def quantity(value: float) -> str:
    """A count in three or four digits with its prefix: 2293000 is `2.293 M`."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.4g} {prefix}"
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, in about three digits: `41.2 s`, `12.5 min` or `3.2 h`."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def milliseconds(seconds: float) -> str:
    """A latency in three digits: `1.25 ms`."""
    return f"{1e3 * seconds:.3g} ms"


def percent(fraction: float, digits: int = 2) -> str:
    """A fraction, such as an accuracy: 0.975 is `97.50 %`."""
    return f"{100 * fraction:.{digits}f} %"


def spent_text(record: Record) -> str:
    """What was spent of the budget, in its unit."""
    unit = "ep" if record.budget.unit == "dense_epochs" else "s"
    spent = record.spent
    return "-" if spent is None else f"{spent:.4g} of {record.budget.amount:g} {unit}"

"""How numbers of a row are written: the same columns for the page and for the terminal."""

from bench.leaderboard.board.board import Estimate, Row, Table
from bench.leaderboard.board.comparison import RankInterval
from bench.leaderboard.pages.column import Column
from bench.records.format import duration, percent

__all__ = ["columns", "heading", "interval", "points", "rank_text"]

RANK_MEANING = (
    "from 1 + the methods that are significantly better to the number of methods less those that are significantly "
    "worse (moderated t-tests, Holm over all pairs at the target); controls are lines of reference and have none; "
    "five seeds rank a row, three make it provisional, fewer list it"
)


def interval(estimate: Estimate) -> str:
    """A fraction in percent with its interval: `91.20 ± 0.35 %`."""
    if estimate.half_width is None:
        return percent(estimate.mean)
    return f"{100 * estimate.mean:.2f} ± {percent(estimate.half_width)}"


def points(estimate: Estimate) -> str:
    """A difference of fractions in percentage points with its sign: `−0.40 ± 0.12`."""
    sign = "+" if estimate.mean > 0 else "−" if estimate.mean < 0 else ""
    width = "" if estimate.half_width is None else f" ± {100 * estimate.half_width:.2f}"
    return f"{sign}{abs(100 * estimate.mean):.2f}{width}"


def rank_text(rank: RankInterval) -> str:
    """`1`, `2 to 5`, `3 to 4 (provisional)`."""
    ends = f"{rank.low}" if rank.low == rank.high else f"{rank.low} to {rank.high}"
    return f"{ends}{' (provisional)' if rank.provisional else ''}"


def heading(table: Table) -> str:
    """What the rows of a table share."""
    unit = "dense epochs" if table.budget_unit == "dense_epochs" else "device seconds"
    edition = f", {table.edition}" if table.edition else ""
    return f"{table.kind.capitalize()}, {table.budget_amount:g} {unit}, {table.device_class}{edition}"


def columns(table: Table, ranked: bool) -> tuple[Column[Row], ...]:
    """The columns of a table, but for the method's name.

    Args:
        table: decides the batch sizes, and whether nonzero weights are counted apart.
        ranked: whether the track ranks at all; where not, no row has a rank.
    """
    first = [
        Column("top-1", "top-1 accuracy on the test images, mean over seeds, 95 % Student interval", _top1),
        Column("dense", "top-1 of the dense networks these runs started from, or are compared with", _dense),
        Column("difference", "pruned minus dense in percentage points, paired by seed", _difference),
        Column("seeds", "number of seeds", lambda row: str(row.top1_test.n)),
    ]
    rank = [Column("rank", RANK_MEANING, _rank)]
    time = Column("device time", "time that a run held the device, mean over seeds", _device_time)
    sizes = [
        Column("MACs", "share of the dense network's multiply-accumulates that is kept", _macs),
        Column("params", "share of the dense network's parameters that is kept", _params),
        Column(
            "compression",
            "dense parameters / nonzero parameters left, biases counted",
            lambda row: f"{row.compression:.2f}×",
        ),
    ]
    nonzero = [Column("MACs, nonzero", "the same by nonzero weights; no speed is claimed for it", _macs_nonzero)]
    weights = [Column("compression, weights", "the same without biases and normalisation", _compression_weights)]
    batches = sorted({change.batch for row in table.rows for change in row.latency})
    last = [
        Column("spent", "share of the budget that was spent", _spent),
        Column(
            "evidence",
            "settings that were tried on validation; runs whose network is kept beside the record: without it the "
            "accuracy cannot be measured again; runs that another machine made again with an equal result",
            _evidence,
            False,
        ),
    ]
    epochs = Column(
        "own epochs",
        "epochs of the pruned network that would cost what was spent after the dense network: at a tenth of the MACs "
        "three dense epochs are thirty of the pruned network's",
        _own_epochs,
    )
    return (
        *(rank if ranked else []),
        time,
        *first,
        *sizes[:1],
        epochs,
        *(nonzero if table.kind == "unstructured" else []),
        *sizes[1:],
        *(weights if table.kind == "unstructured" else []),
        *(_latency_column(batch) for batch in batches),
        *last,
    )


def _top1(row: Row) -> str:
    return interval(row.top1_test)


def _dense(row: Row) -> str:
    return percent(row.dense_top1_test.mean)


def _difference(row: Row) -> str:
    return points(row.difference)


def _rank(row: Row) -> str:
    if row.rank is None:
        return "control" if row.control else "listed"
    return rank_text(row.rank)


def _macs(row: Row) -> str:
    return percent(row.macs_ratio, 1)


def _macs_nonzero(row: Row) -> str:
    return percent(row.macs_nonzero_ratio, 1)


def _params(row: Row) -> str:
    return percent(row.params_ratio, 1)


def _compression_weights(row: Row) -> str:
    return "–" if row.compression_weights is None else f"{row.compression_weights:.2f}×"


def _device_time(row: Row) -> str:
    return duration(row.device_seconds)


def _own_epochs(row: Row) -> str:
    return "–" if row.own_epochs is None else f"{row.own_epochs:.3g}"


def _evidence(row: Row) -> str:
    badges = row.badges
    tries = "" if badges.tries is None else f"{badges.tries} {'try' if badges.tries == 1 else 'tries'}, "
    kept = f"networks {badges.networks}/{badges.seeds}" if badges.networks else "no network: unproven"
    verified = f", verified {badges.verified}/{badges.seeds}" if badges.verified else ""
    return f"{tries}{kept}{verified}"


def _spent(row: Row) -> str:
    return "–" if row.spent is None else percent(row.spent, 0)


def _latency_column(batch: int) -> Column[Row]:
    def cell(row: Row) -> str:
        for change in row.latency:
            if change.batch == batch:
                if change.doubt:
                    return change.doubt
                before, after = change.dense_seconds * 1e3, change.pruned_seconds * 1e3
                return f"{before:.3g} → {after:.3g} ms ({change.speedup:.2f}×)"
        return "–"

    meaning = (
        "measured, dense → pruned, means over seeds of medians; shown where the dense network of every run was within "
        "10 % of its usual time in this table: elsewhere the machine was busy, or another"
    )
    return Column(f"latency, batch {batch}", meaning, cell)

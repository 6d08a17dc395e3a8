"""Tables of a terminal: means over seeds, one row a method and target, within 80 columns."""

import io

import pytest
from rich.console import Console

from bench.cli.tables import results_table, show_record
from bench.records.format import duration
from bench.records.record import Record


def drawn(records: list[Record], by_seed: bool = False) -> str:
    out = io.StringIO()
    Console(file=out, width=80).print(results_table(records, by_seed))
    return out.getvalue()


def test_seeds_are_means_and_everything_fits_80_columns(whole_record: Record) -> None:
    assert whole_record.pruned is not None
    worse = whole_record.pruned.model_copy(update={"top1_test": 0.625})
    other = whole_record.model_copy(update={"seed": 4, "run_id": "other", "pruned": worse})
    lost = whole_record.model_copy(
        update={"method": "entropy-rl", "status": "missed-target", "run_id": "third", "target": "params=0.05"}
    )
    text = drawn([whole_record, other, lost])
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    (row,) = [line.split() for line in text.splitlines() if line.split()[:1] == ["l1"]]
    assert row == ["l1", "macs=0.5", "2", "75.00", "%", "+12.50", "50.0", "%", "2.5", "s", "ok"]
    assert "missed-target" in text and "entropy-rl" in text and "means over seeds" in text
    assert len([line for line in drawn([whole_record, other], by_seed=True).splitlines() if " l1" in line]) == 2


def test_a_run_that_failed_has_a_row_and_a_name_is_no_markup(whole_record: Record) -> None:
    failed = whole_record.model_copy(
        update={"status": "failed", "pruned": None, "dense": None, "ratios": None, "method": "[red]x[/]", "ledger": {}}
    )
    text = drawn([failed, whole_record])
    assert "[red]x[/]" in text
    assert next(line for line in text.splitlines() if "failed" in line).split()[-5:] == ["-", "-", "-", "-", "failed"]


def test_a_run_is_shown_beside_its_dense_network(whole_record: Record) -> None:
    out = io.StringIO()
    show_record(whole_record, Console(file=out, width=80))
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert "MACs 1 k 500 50.0 %" in lines
    assert "nonzero parameters 90 90 100.0 %" in lines


@pytest.mark.parametrize(("seconds", "text"), [(2.468, "2.47 s"), (600, "10 min"), (9000, "2.5 h")])
def test_a_time_is_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text

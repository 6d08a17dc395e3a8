"""Tables for papers and data frames: CSV read back equals the records and the frame; LaTeX is escaped booktabs."""

import csv
import io
import math
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

import bench
from bench.errors import UsageError
from bench.leaderboard.tables.flat import FlatTable, chosen, fingerprint, flat_tables
from bench.leaderboard.tables.write import written
from bench.records.record import Record
from bench.records.store import read_records

RESULTS = Path(str(files("bench.leaderboard") / "results"))


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """The committed records of two tracks."""
    return chosen(read_records(RESULTS)[0], ["digits-lenet5", "mnist-lenet300"], [])


def test_csv_read_by_pandas_equals_the_records_and_the_notebooks_frame(records: list[Record], tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    text = written(flat_tables(records, "seed"), "csv", "bench table", "0")
    read = pandas.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""])
    by_id = {record.run_id: record for record in records}
    assert list(read["run_id"]) == [record.run_id for record in records]
    for row in read.to_dict("records"):
        record = by_id[row["run_id"]]
        assert record.pruned and record.ratios and record.dense
        assert row["pruned_top1_test"] == record.pruned.top1_test
        assert row["dense_macs"] == record.dense.macs
        assert row["ratio_macs"] == record.ratios.macs
        assert row["total_device_seconds"] == record.ledger["total"].device_seconds
        assert (row["seed"], row["target"], row["command"]) == (
            record.seed,
            record.target,
            record.manifest["command"],
        )
    frame = bench.records(RESULTS).frame()
    frame = frame[frame["run_id"].isin(by_id)].set_index("run_id").loc[list(read["run_id"])].reset_index()
    for name in read.columns:
        for ours, theirs in zip(read[name], frame[name], strict=True):
            mixed = name.startswith("setting_")  # of several methods, of several types: CSV has text alone
            assert ours == theirs or (_none(ours) and _none(theirs)) or (mixed and str(ours) == str(theirs)), name


def _none(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def test_a_row_of_a_method_is_the_mean_of_its_seeds(records: list[Record]) -> None:
    rows = list(csv.DictReader(io.StringIO(written(flat_tables(records, "row"), "csv", "", ""))))
    row = next(r for r in rows if (r["track"], r["method"], r["target"]) == ("digits-lenet5", "l1", "macs=0.5"))
    of = [r for r in records if (r.track, r.method, r.target) == ("digits-lenet5", "l1", "macs=0.5")]
    tops = [record.pruned.top1_test for record in of if record.pruned]
    assert (int(row["seeds"]), float(row["top1_test"])) == (len(tops), pytest.approx(sum(tops) / len(tops)))


def test_epochs_and_layers_are_those_of_the_records(records: list[Record]) -> None:
    some = records[:3]
    (epochs,) = flat_tables(some, "epoch")
    assert [row["epoch"] for row in epochs.rows] == [point.epoch for record in some for point in record.curve]
    (layers,) = flat_tables(some, "layer")
    assert [row["width_after"] for row in layers.rows] == [x.width_after for record in some for x in record.layers]


TABLE = FlatTable(
    "a_track & more",
    ({"name": "a_b & 50 %", "top": 0.5}, {"name": "c<d|e\\", "top": 0.25}),
    {"method": lambda row: str(row["name"]), "top-1 (%)": lambda row: f"{100 * row['top']:.1f} ± 0.1"},
    (True, False),
)


def test_latex_is_escaped_and_bold_where_it_is_told_apart() -> None:
    text = written([TABLE], "latex", "bench table --format latex", "abc")
    assert text.startswith("% made by: bench table --format latex; records abc\n")
    assert r"\textbf{a\_b \& 50 \%} & \textbf{50.0 $\pm$ 0.1} \\" in text
    assert r"c$<$d$|$e\textbackslash{} & 25.0 $\pm$ 0.1 \\" in text
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{ll}")] == [1] * 4
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert all(len(re.findall(r"(?<!\\)&", line)) == 1 for line in body)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX here: Debian's texlive-latex-recommended has it")
def test_latex_compiles(records: list[Record], tmp_path: Path) -> None:
    body = written([*flat_tables(records, "row"), TABLE], "latex", "bench table", "abc")
    document = f"\\documentclass{{article}}\n\\usepackage{{booktabs}}\n\\begin{{document}}\n{body}\n\\end{{document}}\n"
    (tmp_path / "table.tex").write_text(document)
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "table.tex"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "table.pdf").stat().st_size > 1000


def test_markdown_and_text_hold_every_row() -> None:
    markdown = written([TABLE], "markdown", "bench table", "abc")
    assert "| **a_b & 50 %** | **50.0 ± 0.1** |" in markdown
    assert r"| c&lt;d\|e\\ | 25.0 ± 0.1 |" in markdown
    lines = written([TABLE], "text", "bench table", "abc").splitlines()
    assert (
        lines[0] == "a_track & more"
        and lines[1].startswith("method")
        and lines[-1] == "made by: bench table; records abc"
    )


def test_what_is_not_there_is_refused_with_what_is(records: list[Record]) -> None:
    with pytest.raises(UsageError, match="unknown track of these records 'digits'. Did you mean 'digits-lenet5'"):
        chosen(records, ["digits"], [])
    with pytest.raises(UsageError, match=r"no record at macs=0.9 here. There are .*macs=0.5"):
        chosen(records, [], ["macs=0.9"])
    at = chosen(records, ["digits-lenet5"], ["macs=0.5"])
    assert {record.target for record in at} == {"macs=0.5", "none"}


def test_a_fingerprint_is_of_the_records_and_not_of_their_order(records: list[Record]) -> None:
    assert fingerprint(records) == fingerprint(records[::-1]) != fingerprint(records[1:])

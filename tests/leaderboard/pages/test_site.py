"""The static folder: whole, closed to the network, and safe whatever a record says."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.errors import StoreError
from bench.leaderboard.pages.site import write_leaderboard
from bench.records.record import Record
from bench.records.store import Unreadable

MakeRecord = Callable[..., Record]
Elements = Callable[[Path], Any]
Figures = Callable[[Path], list[dict[str, Any]]]


def test_an_index_and_a_page_a_track(make_record: MakeRecord, tmp_path: Path) -> None:
    records = [make_record(seed=seed) for seed in range(3)] + [make_record(track="Other:1", run_id="x")]
    index = write_leaderboard(records, [], tmp_path / "out")
    assert index == tmp_path / "out" / "index.html"
    links = re.findall(r'href="(track-[^"#]+)["#]', index.read_text())
    assert len(set(links)) == 2
    assert all((index.parent / link).is_file() for link in links)
    page = (tmp_path / "out" / "track-digits.html").read_text()
    assert "80.00 ± 0.00 %" in page
    assert "provisional" in page
    for record in records[:3]:
        assert record.manifest["command"] in page


def test_nothing_is_loaded_from_elsewhere(make_record: MakeRecord, elements: Elements, tmp_path: Path) -> None:
    write_leaderboard([make_record()], [], tmp_path)
    for page in tmp_path.glob("*.html"):
        for _, attributes in elements(page).tags:
            for name in ("src", "href"):
                target = attributes.get(name)
                assert target is None or target.startswith("#") or (tmp_path / target.partition("#")[0]).is_file()
    for name in ("style.css", "plots.js"):
        assert "://" not in (tmp_path / name).read_text()
    assert len(list(tmp_path.glob("*plotly*"))) == 1


def test_the_plot_has_error_bars_auto_rows_and_the_dense_network(
    make_record: MakeRecord, figures: Figures, tmp_path: Path
) -> None:
    records = [make_record(seed=seed, top1=0.8 + 0.02 * seed) for seed in range(3)]
    records += [make_record(method="amc", target="auto", macs=300_000)]
    write_leaderboard(records, [], tmp_path)
    figure = figures(tmp_path / "track-digits.html")[0]
    traces = {trace["name"]: trace for trace in figure["data"]}
    assert set(traces) == {"Pareto front", "l1", "amc, auto"}
    assert traces["l1"]["y"] == [pytest.approx(82.0)]
    assert traces["l1"]["error_y"]["array"] == [pytest.approx(4.96827, abs=1e-4)]
    assert traces["amc, auto"]["x"] == [pytest.approx(300)]  # thousands
    (line,) = figure["layout"]["shapes"]
    assert (line["y0"], line["y1"]) == (pytest.approx(90.0), pytest.approx(90.0))
    assert figure["layout"]["annotations"][0]["text"] == "dense network, 90.00 %"
    low, high = figure["layout"]["yaxis"]["range"]
    assert 75 < low < 77  # the interval of l1, 82.00 - 4.97, and some room
    assert 90 < high < 92
    page = (tmp_path / "track-digits.html").read_text()
    assert "not comparable with the rows above" in page
    assert page.index(">amc</a>") > page.index("not comparable with the rows above")


def test_a_track_that_is_not_ranked_says_so(make_record: MakeRecord, tmp_path: Path) -> None:
    write_leaderboard([make_record(track_fields={"ranked": False})], [], tmp_path)
    page = (tmp_path / "track-digits.html").read_text()
    assert "too small to rank" in page
    assert "listed</td>" not in page


def test_what_is_left_out_is_listed(make_record: MakeRecord, tmp_path: Path) -> None:
    failed = make_record(status="failed", error="Traceback\nValueError: no", pruned=None, ratios=None)
    index = write_leaderboard([failed], [Unreadable(Path("r1/record.json"), "schema 9")], tmp_path)
    assert "ValueError: no" in (tmp_path / "track-digits.html").read_text()
    assert "schema 9" in index.read_text()


def test_no_records_gives_a_page_with_the_next_action(tmp_path: Path) -> None:
    index = write_leaderboard([], [], tmp_path)
    assert "no records yet" in index.read_text()
    assert "bench run" in index.read_text()
    assert not (tmp_path / "plotly.min.js").exists()


def test_pages_of_tracks_that_are_gone_are_removed(make_record: MakeRecord, tmp_path: Path) -> None:
    write_leaderboard([make_record(), make_record(track="old", run_id="x")], [], tmp_path)
    (tmp_path / "track-mine.html").write_text("somebody else's")
    write_leaderboard([make_record()], [], tmp_path)
    assert not (tmp_path / "track-old.html").exists()
    assert (tmp_path / "track-mine.html").exists()
    assert (tmp_path / "track-digits.html").exists()


def test_a_folder_that_cannot_be_written_is_refused(make_record: MakeRecord, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(StoreError, match="cannot write"):
        write_leaderboard([make_record()], [], tmp_path / "out")

"""The pages of a store: a run's page is drawn again only where its record, or the page, is another."""

import json
import os
from pathlib import Path

import pytest

from bench.leaderboard.pages.links import INDEX, run_page, track_page
from bench.leaderboard.pages.site import RunPages, write_leaderboard
from bench.leaderboard.pages.store_pages import draw_stores, draw_touched
from bench.records.record import Record
from bench.records.store import Store, read_records


@pytest.fixture
def store(tmp_path: Path, whole_record: Record) -> Store:
    made = Store(tmp_path / "runs")
    made.prepare()
    for number in range(3):
        run_id = f"l1-smoke-macs0.5-s{number}-0123456789ab"
        made.write(whole_record.model_copy(update={"run_id": run_id, "seed": number}))
    return made


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs whose pages are drawn."""
    seen: list[str] = []
    draw = RunPages.run

    def noted(self: RunPages, record: Record, has_track_page: bool) -> str:
        seen.append(record.run_id[:19])
        return draw(self, record, has_track_page)

    monkeypatch.setattr(RunPages, "run", noted)
    return seen


def pages(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != ".drawn.json"}


def test_the_pages_are_those_of_the_records(store: Store, tmp_path: Path) -> None:
    for _ in range(2):
        assert draw_stores([store.root], tmp_path / "page")[1:] == (3, 0)
        records, unreadable = read_records(store.root)
        write_leaderboard(records, unreadable, tmp_path / "whole", {})
        assert pages(tmp_path / "page") == pages(tmp_path / "whole")


def test_only_what_changed_is_drawn_again(store: Store, tmp_path: Path, drawn: list[str]) -> None:
    out = tmp_path / "page"
    draw_stores([store.root], out)
    assert drawn == [f"l1-smoke-macs0.5-s{number}" for number in range(3)]
    first = pages(out)
    drawn.clear()

    draw_stores([store.root], out)
    assert drawn == []
    assert pages(out) == first

    (out / run_page("l1-smoke-macs0.5-s0-0123456789ab")).write_text("somebody's own")
    (out / run_page("l1-smoke-macs0.5-s1-0123456789ab")).unlink()
    os.utime(store.record_path("l1-smoke-macs0.5-s2-0123456789ab"), ns=(1, 1))
    draw_stores([store.root], out)
    assert sorted(drawn) == [f"l1-smoke-macs0.5-s{number}" for number in range(3)]
    assert pages(out) == first
    drawn.clear()

    store.record_path("l1-smoke-macs0.5-s1-0123456789ab").unlink()
    assert draw_stores([store.root], out)[1] == 2
    assert drawn == []
    assert not (out / run_page("l1-smoke-macs0.5-s1-0123456789ab")).exists()


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"by": 1}', '{"by": "@", "pages": [1]}', '{"by": "@", "pages": {}}']
)
def test_a_damaged_note_of_what_is_drawn_costs_time_alone(
    store: Store, tmp_path: Path, drawn: list[str], damage: str
) -> None:
    out = tmp_path / "page"
    draw_stores([store.root], out)
    first = pages(out)
    note = out / ".drawn.json"
    note.write_text(damage.replace("@", json.loads(note.read_text())["by"]))
    drawn.clear()
    draw_stores([store.root], out)
    assert len(drawn) == 3
    assert pages(out) == first


def test_the_run_of_the_last_store_counts_and_a_folder_that_is_no_store_is_only_read(
    store: Store, tmp_path: Path, whole_record: Record
) -> None:
    other = Store(tmp_path / "committed")
    run_id = "l1-smoke-macs0.5-s0-0123456789ab"
    other.write(whole_record.model_copy(update={"run_id": run_id, "status": "invalid", "error": "another"}))
    out = tmp_path / "page"
    for _ in range(2):
        assert draw_stores([other.root, store.root], out)[1] == 3
        assert "another" not in (out / run_page(run_id)).read_text()
    assert not (other.root / ".index").exists()
    draw_stores([store.root, other.root], out)
    assert "another" in (out / run_page(run_id)).read_text()


def test_new_runs_of_a_large_store_draw_their_pages_and_their_tracks(
    store: Store, tmp_path: Path, drawn: list[str], whole_record: Record
) -> None:
    out = tmp_path / "page"
    draw_stores([store.root], out)
    overview = (out / INDEX).read_text()
    new = whole_record.model_copy(update={"run_id": "l1-smoke-macs0.5-s5-0123456789ab", "seed": 5})
    store.write(new)
    drawn.clear()
    assert draw_touched(store.root, [new], out) == out / track_page("smoke")
    assert drawn == ["l1-smoke-macs0.5-s5"]
    assert (out / INDEX).read_text() == overview
    touched = pages(out)
    draw_stores([store.root], out)
    assert (out / INDEX).read_text() != overview
    for name in (track_page("smoke"), run_page(new.run_id)):
        assert pages(out)[name] == touched[name]


def test_a_large_store_without_new_runs_keeps_its_pages(store: Store, tmp_path: Path, drawn: list[str]) -> None:
    out = tmp_path / "page"
    draw_stores([store.root], out)
    before = pages(out)
    drawn.clear()
    assert draw_touched(store.root, [], out) == out / INDEX
    assert drawn == []
    assert pages(out) == before

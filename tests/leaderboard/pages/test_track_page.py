"""What stands in a report: blocks with numbers computed by hand, and figures that plotly accepts."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bench.leaderboard.board.summary import summarise
from bench.leaderboard.pages.accuracy_plots import pareto
from bench.leaderboard.pages.blocks import Block, Fold, Plot, ReportPlan, TableBlock, Text
from bench.leaderboard.pages.details import row_details
from bench.leaderboard.pages.run_page import run_context
from bench.leaderboard.pages.track_page import overview_plan, track_plan
from bench.records.record import Point, Record

MakeRecord = Callable[..., Record]
FullFields = Callable[[str], dict[str, Any]]


@pytest.fixture
def records(make_record: MakeRecord, full_fields: FullFields) -> dict[str, Record]:
    """Two methods at two targets with five seeds, and one that chose its own size."""
    fields = full_fields("plain") | {"track_fields": {"summary": "Digits."}}
    made = [
        make_record(
            run_id=f"{method}{seed}{target}",
            method=method,
            target=target,
            seed=seed,
            top1=top1 + 0.001 * (seed % 2),
            macs=500_000 if target == "macs=0.5" else 250_000,
            **fields,
        )
        for method, top1 in (("a", 0.92), ("b", 0.80))
        for target in ("macs=0.5", "macs=0.25")
        for seed in range(5)
    ]
    made.append(make_record(run_id="own", method="c", target="auto", **fields))
    return {record.run_id: record for record in made}


def walk(blocks: tuple[Block, ...]) -> Iterator[Block]:
    for block in blocks:
        yield block
        if isinstance(block, Fold):
            yield from walk(block.blocks)


def every(plan: ReportPlan) -> list[Block]:
    return [*walk(plan.intro), *(block for section in plan.sections for block in walk(section.blocks))]


def test_the_pareto_front_is_what_no_other_point_beats() -> None:
    points = [(1.0, 50.0), (2.0, 70.0), (2.0, 60.0), (3.0, 70.0), (4.0, 65.0), (5.0, 80.0)]
    assert pareto(points) == [(1.0, 50.0), (2.0, 70.0), (5.0, 80.0)]
    assert pareto([]) == []


def test_cost_by_phase_and_widths_are_means_over_seeds(records: dict[str, Record]) -> None:
    some = records["a0macs=0.5"]
    wider = some.layers[0].model_copy(update={"width_after": 15})
    slower = some.ledger["prune"].model_copy(update={"device_seconds": 25.0, "macs": 30_000})
    changed = some.model_copy(update={"layers": (wider, some.layers[1]), "ledger": {**some.ledger, "prune": slower}})
    row = next(row for row in summarise(records.values()).tracks[0].tables[0].rows if row.method == "a")
    found = row_details(row, {"a0macs=0.5": changed, "a1macs=0.5": records["a1macs=0.5"]})
    assert found is not None
    # 15 and 25 s; 10,000 and 30,000 MACs where a dense epoch is 1,000; 5 and 15 of 20 channels.
    assert (found.cost["prune"].device_seconds, found.cost["prune"].dense_epochs) == (20.0, 20.0)
    assert found.cost["dense"].dense_epochs == 20.0
    assert found.kept == {"conv1plain": 0.5, "fcplain": 1.0}
    assert row_details(row, {}) is None


def test_rewards_stand_beside_each_other_with_the_best_so_far(records: dict[str, Record]) -> None:
    some = records["a0macs=0.5"]
    walks = [
        Point(phase="search", epoch=0, spent=1, values={"reward": reward, "episode": 1.0}) for reward in (0.2, 0.5, 0.3)
    ]
    silent = {name: each.model_copy(update={"curve": ()}) for name, each in records.items()}
    searched = {**silent, "a0macs=0.5": some.model_copy(update={"curve": tuple(walks)})}
    (track,) = summarise(searched.values()).tracks
    row = next(row for row in track.tables[0].rows if row.method == "a" and row.target == "macs=0.5")
    found = row_details(row, searched)
    assert found is not None
    assert found.rewards == ((0.2, 0.5, 0.3),)

    def curves(of: dict[str, Record]) -> list[list[list[float]]]:
        blocks = every(track_plan(track, (), of))
        figures = [each.figure for each in blocks if isinstance(each, Plot) and each.shows == "rewards"]
        return [[list(trace["y"]) for trace in figure["data"]] for figure in figures]

    assert curves(searched) == [[[0.2, 0.5, 0.3], [0.2, 0.5, 0.5]]]
    assert curves(silent) == []


def test_a_tracks_report_has_every_block(records: dict[str, Record]) -> None:
    (track,) = summarise(records.values()).tracks
    blocks = every(track_plan(track, (), records))
    captions = [block.caption for block in blocks if isinstance(block, TableBlock | Plot)]
    for wanted in ("Test accuracy over MACs", "Results", "Own size", "Measured speed-up", "Share of each layer's"):
        assert any(caption.startswith(wanted) for caption in captions), wanted
    for unit in ("device seconds", "dense epochs"):
        assert any(caption.startswith(f"Cost by phase in {unit}") for caption in captions)
    results = next(b for b in blocks if isinstance(b, TableBlock) and b.caption.startswith("Results"))
    assert [row.group for row in results.rows] == ["macs=0.5"] * 2 + ["macs=0.25"] * 2
    assert all(len(row.cells) == len(results.columns) for row in results.rows)
    ranks = [row.cells[[head.title for head in results.columns].index("rank")].text for row in results.rows]
    assert ranks == ["1", "2", "1", "2"]
    commands = next(b for b in blocks if isinstance(b, TableBlock) and "command" in b.caption)
    assert {row.cells[0].text for row in commands.rows} == set(records)


def test_without_records_cost_and_widths_are_left_out(records: dict[str, Record]) -> None:
    (track,) = summarise(records.values()).tracks
    titles = [block.title for block in every(track_plan(track)) if isinstance(block, Fold)]
    assert not {"Cost by phase", "Widths by layer"} & set(titles)


def test_the_overview_says_what_is_known(records: dict[str, Record]) -> None:
    plan = overview_plan(summarise(records.values()))
    assert plan.sections[0].anchor == "findings"
    (table,) = [b for b in every(plan) if isinstance(b, TableBlock) and b.caption == "findings"]
    (row,) = table.rows
    assert "At macs=0.5: a is better than b" in row.cells[1].text
    assert "At macs=0.25: a is better than b" in row.cells[1].text
    empty = overview_plan(summarise([]))
    assert any(isinstance(block, Text) and "no records yet" in block.text for block in empty.intro)


def test_plotly_accepts_every_figure(records: dict[str, Record]) -> None:
    import plotly.graph_objects as go

    (track,) = summarise(records.values()).tracks
    figures = [block.figure for block in every(track_plan(track, (), records)) if isinstance(block, Plot)]
    context = run_context(records["own"], has_track_page=True)
    figures += [context["training"], context["logged"]]
    assert len(figures) == 13
    for figure in figures:
        go.Figure(figure)  # raises on a property that plotly does not know


def test_a_runs_curve_lies_over_what_was_spent(records: dict[str, Record]) -> None:
    context = run_context(records["own"], has_track_page=True)
    traces = {trace["name"]: trace for trace in context["training"]["data"]}
    assert (traces["validation top-1 (%)"]["x"], traces["validation top-1 (%)"]["y"]) == ([20.0, 45.0], [90.0, 80.0])
    assert traces["MACs left (%)"]["y"] == [50.0]
    bands = [(band["x0"], band["x1"]) for band in context["training"]["layout"]["shapes"]]
    assert bands == [(0.0, 24.0), (24.0, 35.0), (35.0, 45.0)]
    logged = {trace["name"]: trace for trace in context["logged"]["data"]}
    assert logged["reward"]["y"] == [0.4, 0.3]
    assert logged["plain"]["visible"] == "legendonly"


def test_a_run_that_measured_nothing_has_a_page_all_the_same(make_record: MakeRecord) -> None:
    bare = make_record(
        status="failed", error="ValueError: no", dense=None, pruned=None, ratios=None, curve=[], ledger={}, manifest={}
    )
    context = run_context(bare, has_track_page=False)
    assert (context["results"], context["training"], context["logged"], context["command"]) == ("", None, None, "")


def test_accuracy_over_budget_where_rows_were_run_at_several(make_record: MakeRecord) -> None:
    """Tables of two budgets are apart, and one plot joins the rows that both have."""
    runs = {
        f"{method}-{amount}-{seed}": make_record(
            method=method,
            run_id=f"{method}-{amount}-{seed}",
            seed=seed,
            top1=top1 + 0.01 * seed,
            budget={"amount": amount, "unit": "dense_epochs", "dense_epoch_macs": 1000},
            track_fields={"network": "lenet5", "budget": {"dense_epochs": amount}},
        )
        for method, points in (("a", ((10.0, 0.7), (30.0, 0.8))), ("b", ((10.0, 0.6),)))
        for amount, top1 in points
        for seed in range(3)
    }
    (track,) = summarise(runs.values()).tracks
    assert len(track.tables) == 2
    plan = track_plan(track, (), runs)
    (section,) = [section for section in plan.sections if section.anchor == "over-budget"]
    (block,) = section.blocks
    assert isinstance(block, Plot)
    (trace,) = block.figure["data"]
    assert trace["name"] == "a, macs=0.5"
    assert (trace["x"], trace["y"]) == ([10.0, 30.0], [pytest.approx(71), pytest.approx(81)])
    alone = {name: run for name, run in runs.items() if run.budget.amount == 10}
    (track,) = summarise(alone.values()).tracks
    assert not [section for section in track_plan(track, (), alone).sections if section.anchor == "over-budget"]

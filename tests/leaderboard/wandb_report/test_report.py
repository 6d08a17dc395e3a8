"""`bench report`: the plan as a W&B report that wandb-workspaces' own models accept, made once and then updated."""

import json
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.cli.main import main
from bench.leaderboard.pages.blocks import (
    Cell,
    ColumnHead,
    Facts,
    Plot,
    ReportPlan,
    Section,
    TableBlock,
    TableRow,
    Text,
)
from bench.leaderboard.pages.collect import Material, gather
from bench.leaderboard.wandb_report.report import MARK, build_report, make_report
from bench.leaderboard.wandb_report.wandb_blocks import MOST_ROWS, blocks_of
from bench.records.record import Record, parse_record
from bench.specs.claim import claim_names, load_claim

wr = pytest.importorskip("wandb_workspaces.reports.v2")
internal = pytest.importorskip("wandb_workspaces.reports.v2.internal")

RESULTS = Path(__file__).resolve().parents[3] / "leaderboard" / "results"
KEY = {"WANDB_API_KEY": "0" * 40}


@pytest.fixture(scope="module")
def records() -> list[Record]:
    paths = [*RESULTS.glob("*-digits-*/record.json"), *RESULTS.glob("olmp-mnist-lenet300-*/record.json")]
    return [parse_record(path.read_bytes(), str(path)) for path in paths]


def shown(records: list[Record]) -> Material:
    claims = [load_claim(name) for name in claim_names()]
    return gather(claims, {record.run_id: record for record in records}, [])


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """An account without a network: reports that are saved are kept by id; `down` is raised by the next call."""
    import wandb

    kept = SimpleNamespace(reports={"other": ("Somebody's notes", {})}, asked=[], down=None)

    class Api:
        default_entity = "me"

        def __init__(self, timeout: int) -> None:
            assert timeout <= 60
            if kept.down:
                raise kept.down

        def reports(self, path: str) -> Iterator[Any]:
            kept.asked.append(path)
            for name, (description, _) in kept.reports.items():
                yield SimpleNamespace(id=name, description=description)

    def save(report: Any) -> Any:
        spec = report._to_model().model_dump(by_alias=True, exclude_none=True)
        report.id = report.id or f"report-{len(kept.reports)}"
        kept.reports[report.id] = (report.description, spec)
        return report

    monkeypatch.setattr(wandb, "Api", Api)
    monkeypatch.setattr(wr.Report, "save", save)
    monkeypatch.setattr(wr.Report, "url", property(lambda report: f"https://wandb.example/{report.id}"))
    return kept


def blocks(records: list[Record]) -> list[Any]:
    found: list[Any] = build_report(shown(records), "bench", "me").blocks
    return found


def every(some: list[Any]) -> Iterator[Any]:
    """Blocks, with those below headings that are folded."""
    for each in some:
        yield each
        yield from every(getattr(each, "collapsed_blocks", None) or [])


def test_wandb_workspaces_own_models_read_it_back_unchanged(records: list[Record]) -> None:
    report = build_report(shown(records), "bench", "me")
    sent = report._to_model().model_dump_json(by_alias=True, exclude_none=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = internal.ReportViewspec.model_validate_json(sent)
    again = json.loads(model.model_dump_json(by_alias=True, exclude_none=True))
    assert json.loads(json.dumps(again).replace(', "inlineComments": []', "")) == json.loads(sent)
    assert not any(isinstance(block, internal.UnknownBlock) for block in model.spec.blocks)


def test_it_says_what_the_page_says(records: list[Record]) -> None:
    made = list(every(blocks(records)))
    headings = [block.text for block in made if isinstance(block, wr.H1 | wr.H2)]
    assert [word for word in ("digits-lenet5", "mnist-lenet300", "Tracks") if word in headings]
    tables = "\n".join(block.text for block in made if isinstance(block, wr.MarkdownBlock))
    for record in records:
        assert record.run_id.replace("-", r"\-").replace(".", r"\.") in tables
    assert "bench run \\-\\-method hbfp \\-\\-track digits\\-lenet5" in tables


def test_panels_show_the_runs_that_a_table_compares_by_names_that_the_tracker_logs(records: list[Record]) -> None:
    from bench.tracking.values import run_config, run_summary

    grids = [block for block in every(blocks(records)) if isinstance(block, wr.PanelGrid)]
    (first, *_), (last, *_) = grids, grids[::-1]
    assert first.runsets[0].filters.startswith(
        'Config("track") == \'digits-lenet5\' and Config("kind") == \'structured'
    )
    assert "mnist-lenet300" in last.runsets[0].filters
    config, summary = run_config(records[0]), run_summary(records[0])
    sent = "".join(grid._to_model().model_dump_json(by_alias=True, exclude_none=True) for grid in grids)
    asked = set(re.findall(r'"summary:([^"]+)"', sent))
    for bars in re.findall(r'"Bar Chart","config":{[^}]*"metrics":(\[[^]]*\])', sent):
        asked |= set(json.loads(bars))
    assert {"macs", "pruned_top1_test", "ratio_macs", "latency_ms_b1", "phase/finetune/device_seconds"} <= asked
    assert asked <= set(summary)
    assert {"track", "kind", "budget_unit", "device_class", "method", "target"} <= set(config)


def test_text_is_shown_as_it_is_and_long_tables_are_cut() -> None:
    hostile = "<script>|x|</script> [a](javascript:b) `c` *d*\nnext"
    rows = tuple(TableRow((Cell(hostile), Cell(str(number)))) for number in range(MOST_ROWS + 3))
    table = TableBlock("caption", (ColumnHead("one"), ColumnHead("two", numeric=True)), rows)
    unknown = Plot("nothing", {"data": []}, shows="accuracy")
    section = Section("Heading", "anchor", (table, Facts((("a", "b"),)), Text("careful", note=True), unknown))
    made = blocks_of(ReportPlan("Title", (Text("Intro"),), (section,)))
    assert [type(block).__name__ for block in made] == [
        "H1",
        "P",
        "H2",
        "MarkdownBlock",
        "UnorderedList",
        "CalloutBlock",
    ]
    text = made[3].text
    assert "<" not in text.replace("&lt;", "")
    assert r"&lt;script&gt;\|x\|&lt;/script&gt; \[a\]\(javascript:b\) \`c\` \*d\* next" in text
    assert text.endswith("3 more rows are on the page that `bench leaderboard` writes.")
    assert text.count("\n| ") == MOST_ROWS + 2


def test_the_second_time_updates_the_first_report_and_leaves_others_alone(
    records: list[Record], account: SimpleNamespace, tmp_path: Path
) -> None:
    first = make_report(records, [], tmp_path, "bench", environment=KEY)
    assert (first.done, first.url) == ("made", "https://wandb.example/report-1")
    second = make_report(records[:5], [], tmp_path, "bench", environment=KEY)
    assert (second.done, second.url) == ("updated", "https://wandb.example/report-1")
    assert list(account.reports) == ["other", "report-1"]
    assert account.reports["other"] == ("Somebody's notes", {})
    assert "from 5 records" in account.reports["report-1"][0] and MARK in account.reports["report-1"][0]
    assert account.asked == ["me/bench", "me/bench"]
    make_report(records[:5], [], tmp_path, "bench", "team", KEY)
    assert account.asked[-1] == "team/bench"


def test_no_network_costs_a_reason_and_no_page(
    records: list[Record], account: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.down = ConnectionError("no route\nto host")
    reported = make_report(records, [], tmp_path, "bench", environment=KEY)
    assert reported.done == "failed"
    assert reported.words().startswith("no W&B report: ConnectionError: no route to host. Try `bench report` again")
    assert str(reported.page) in reported.words() and reported.page.is_file()
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    assert "pip install wandb-workspaces" in make_report(records, [], tmp_path, "bench", environment=KEY).why


def test_a_project_that_is_not_there_yet_gets_its_first_report(
    records: list[Record], account: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    def reports(_api: object, _path: str) -> Iterator[Any]:
        raise ValueError("Project bench does not exist under entity me")
        yield

    monkeypatch.setattr(wandb.Api, "reports", reports)
    assert make_report(records[:1], [], tmp_path, "bench", environment=KEY).done == "made"


def test_without_an_account_the_command_says_why_and_where_the_page_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("bench.cli.shown_records.all_records", lambda _store: ([], []))
    with pytest.raises(SystemExit) as end:
        main(["report", "--out", str(tmp_path / "page"), "--store", str(tmp_path)])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert "no W&B report" in said and "`wandb login`" in said
    assert str(tmp_path / "page" / "index.html") in said

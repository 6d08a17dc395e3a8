"""`bench gate`: what passes, what fails by name, and that nothing compared is a failure."""

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.cli.main import main
from bench.errors import UsageError
from bench.leaderboard.compare.gate import Gate, Rule, judge
from bench.leaderboard.compare.gate_text import as_json, as_markdown, code
from bench.records.record import Record

IMAGES = 400
Make = Callable[..., Record]


@pytest.fixture
def run(make_record: Make) -> Make:
    """`run(seed=1, wrong=range(8), ...)`: a record whose pruned network gets these of 400 test images wrong."""

    def make(wrong: Sequence[int] = range(10), pruned: dict[str, Any] | None = None, **fields: Any) -> Record:
        record = make_record(**fields)
        bits = np.ones(IMAGES, dtype=bool)
        bits[list(wrong)] = False
        measures = {
            "correct_test": base64.b64encode(np.packbits(bits).tobytes()).decode(),
            "top1_test": int(bits.sum()) / IMAGES,
            "weights_sha256": f"sha-{sorted(wrong)}",
        }
        assert record.pruned
        return record.model_copy(update={"pruned": record.pruned.model_copy(update=measures | (pruned or {}))})

    return make


def reasons(gate: Gate) -> str:
    return "; ".join((*gate.problems, *(reason for row in gate.failing for reason in row.failures)))


# -- what holds ---------------------------------------------------------------------------------------------------


def test_an_unchanged_tree_holds_bit_by_bit(run: Make) -> None:
    records = [run(seed=seed, method=method) for seed in range(3) for method in ("l1", "hbfp")]
    gate = judge(records, records)
    assert gate.holds and gate.compared == 6
    assert [row.verdict for row in gate.rows] == ["equal", "equal"]


def test_a_few_other_images_hold(run: Make) -> None:
    """As on another CPU: other networks, no worse."""
    base = [run(seed=seed, wrong=range(10)) for seed in range(3)]
    head = [run(seed=seed, wrong=range(3, 14)) for seed in range(3)]
    gate = judge(base, head)
    assert gate.holds, reasons(gate)
    assert gate.rows[0].verdict == "holds"


def test_a_better_network_holds(run: Make) -> None:
    assert judge([run(wrong=range(40))], [run(wrong=range(5))]).holds


def test_a_new_method_is_listed_and_does_not_fail(run: Make) -> None:
    gate = judge([run()], [run(), run(method="mine", wrong=range(300))])
    assert gate.holds
    assert {row.method: row.verdict for row in gate.rows} == {"l1": "equal", "mine": "new"}


def test_time_never_fails_and_is_shown_on_the_same_hardware_alone(run: Make) -> None:
    def on(cores: int, milliseconds: tuple[float, float]) -> Record:
        record = run(pruned_ms=milliseconds)
        return record.model_copy(update={"manifest": record.manifest | {"hardware": {"cores": cores}}})

    gate = judge([on(2, (1.0, 6.0))], [on(2, (10.0, 3.0))])
    assert gate.holds
    assert gate.rows[0].latency == {1: pytest.approx(10), 64: pytest.approx(0.5)}
    assert judge([on(2, (1.0, 6.0))], [on(4, (10.0, 3.0))]).rows[0].latency == {}
    assert judge([run()], [run()]).rows[0].latency == {}  # the records do not say on what they ran


def test_a_changed_setting_is_shown_and_judged(run: Make) -> None:
    gate = judge([run(config={"scope": "global"})], [run(config={"scope": "uniform"})])
    assert gate.holds
    assert gate.rows[0].notes == ("setting scope: global → uniform",)


def test_of_several_runs_with_equal_settings_the_newest_is_judged(run: Make) -> None:
    def at(hour: int, run_id: str, wrong: range) -> Record:
        record = run(wrong=wrong, run_id=run_id)
        return record.model_copy(update={"manifest": record.manifest | {"finished_at": f"2026-01-01T{hour:02}:00"}})

    old, new = at(1, "l1-old", range(10)), at(2, "l1-new", range(60))
    assert not judge([run()], [old, new]).holds
    assert judge([run()], [at(3, "l1-newest", range(10)), old, new]).holds


def test_rows_of_one_method_with_two_settings_stand_apart(run: Make) -> None:
    records = [run(config={"scope": scope}, run_id=f"l1-{scope}") for scope in ("global", "uniform")]
    gate = judge(records, records)
    assert gate.holds
    assert [row.variant for row in gate.rows] == ["scope=global", "scope=uniform"]


# -- what fails, by name ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_three_points_fewer_fail_with_the_row_named(run: Make, seeds: int) -> None:
    base = [run(seed=seed, method=method) for seed in range(seeds) for method in ("l1", "hbfp")]
    head = [
        run(seed=seed, method=method, wrong=range(22 if method == "hbfp" else 10))
        for seed in range(seeds)
        for method in ("l1", "hbfp")
    ]
    gate = judge(base, head)
    assert not gate.holds
    (row,) = gate.failing
    assert (row.method, row.target, row.track) == ("hbfp", "macs=0.5", "digits")
    assert "top-1 on test fell by 3.00" in reasons(gate)
    assert "- `hbfp` at `macs=0.5` on `digits`: <code>top-1 on test fell by 3.00" in as_markdown(gate)


def test_three_points_on_average_fail_though_seeds_differ(run: Make) -> None:
    falls = (4, 12, 20)
    base = [run(seed=seed) for seed in range(3)]
    head = [run(seed=seed, wrong=range(10 + fall)) for seed, fall in enumerate(falls)]
    assert not judge(base, head).holds


def test_a_fall_between_margin_and_limit_fails_when_it_is_significant(run: Make) -> None:
    """Seven images of 400 are 1.75 points: a plain loss on every seed fails, the same among much exchange does not."""
    plain = judge([run(seed=s) for s in range(3)], [run(seed=s, wrong=range(17)) for s in range(3)])
    assert "significant, and more than 1" in reasons(plain)
    exchanged = judge([run(wrong=range(40))], [run(wrong=range(30, 77))])
    assert exchanged.holds


def test_up_to_the_margin_nothing_fails(run: Make) -> None:
    """Four images of 400 on every seed are one point."""
    base = [run(seed=seed) for seed in range(5)]
    head = [run(seed=seed, wrong=range(14)) for seed in range(5)]
    assert judge(base, head).holds
    assert "1 or more always fail" in reasons(judge(base, head, Rule(margin=0.5, limit=1.0)))


def test_without_bits_more_than_the_margin_fails(run: Make) -> None:
    base, head = (run(pruned={"correct_test": "", "top1_test": top1}) for top1 in (0.95, 0.935))
    assert "do not tell how much of it is chance" in reasons(judge([base], [head]))


@pytest.mark.parametrize("size", ["macs", "params"])
@pytest.mark.parametrize("part", ["dense", "pruned"])
def test_a_size_that_changes_by_one_fails(run: Make, size: str, part: str) -> None:
    base = run(seed=2)
    network = getattr(base, part)
    head = base.model_copy(update={part: network.model_copy(update={size: getattr(network, size) + 1})})
    gate = judge([run(seed=1), base], [run(seed=1), head])
    title = {"macs": "MACs", "params": "params"}[size]
    before = getattr(network, size)
    assert reasons(gate) == f"seed 2: {part} {title} {before:,} → {before + 1:,} (+1)"


def test_nonzero_weights_count_where_single_weights_are_pruned(run: Make) -> None:
    def with_nonzero(kind: str, nonzero: int) -> Record:
        return run(kind=kind, pruned={"nonzero": nonzero})

    assert judge([with_nonzero("structured", 40)], [with_nonzero("structured", 41)]).holds
    gate = judge([with_nonzero("unstructured", 40)], [with_nonzero("unstructured", 41)])
    assert "pruned nonzero params 40 → 41 (+1)" in reasons(gate)


def test_a_run_that_is_missing_fails_by_its_seeds(run: Make) -> None:
    gate = judge([run(seed=seed) for seed in range(3)], [run(seed=0)])
    assert reasons(gate) == "seed 1, 2: no run in the store"


@pytest.mark.parametrize("status", ["missed-target", "undertrained", "failed", "invalid"])
def test_a_worse_status_fails(run: Make, status: str) -> None:
    head = run().model_copy(update={"status": status, "error": "Traceback\nValueError: of the method"})
    assert f"seed 0: status ok → {status}: ValueError: of the method" in reasons(judge([run()], [head]))
    assert judge([head], [run()]).holds


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"device_class": "NVIDIA H200"}, "other device class: cpu | NVIDIA H200"),
        (
            {"budget": {"amount": 60.0, "unit": "dense_epochs", "dense_epoch_macs": 1000}},
            "other budget: 50 dense_epochs | 60 dense_epochs",
        ),
        ({"manifest": {"device_class": "cpu", "data_fingerprint": "b"}}, "other data fingerprint: (none) | b"),
    ],
)
def test_runs_on_another_basis_are_not_held_against_each_other(run: Make, fields: dict[str, Any], reason: str) -> None:
    assert f"seed 0: {reason}" in reasons(judge([run()], [run(**fields)]))


def test_a_measure_that_is_gone_fails(run: Make) -> None:
    gate = judge([run(pruned={"weights": 40})], [run()])
    assert reasons(gate) == "seed 0: the record has no pruned.weights any more"


def test_an_accuracy_that_its_bits_contradict_fails(run: Make) -> None:
    assert "correct bits do not give a top1_test" in reasons(judge([run()], [run(pruned={"top1_test": 0.99})]))


# -- nothing compared ---------------------------------------------------------------------------------------------


def test_a_gate_that_compared_nothing_fails(run: Make) -> None:
    assert "the baseline has no records" in reasons(judge([], [run()]))
    assert "the store has no records" in reasons(judge([run()], []))
    other = judge([run(method="l1")], [run(method="hbfp")])
    assert "nothing was compared" in reasons(other) and not other.holds
    failed = run().model_copy(update={"status": "failed", "dense": None, "pruned": None})
    assert "nothing was compared" in reasons(judge([failed], [failed]))


@pytest.mark.parametrize(("margin", "limit"), [(-1, 2), (3, 2), (float("nan"), 2), (1, 101)])
def test_a_rule_that_makes_no_sense_is_refused(margin: float, limit: float) -> None:
    with pytest.raises(UsageError, match="give 0 <= margin <= limit <= 100"):
        Rule(margin, limit)


# -- the power that the documents state ---------------------------------------------------------------------------


@pytest.mark.parametrize(("seeds", "found", "false"), [(1, 0.77, 0.08), (2, 0.87, 0.04), (3, 0.93, 0.03)])
def test_the_power_is_what_the_documents_say(run: Make, seeds: int, found: float, false: float) -> None:
    """Networks that get 98 % right, of which as many images as on digits change sides from network to network."""
    generator = np.random.default_rng(seeds)
    tries = 200
    hard = np.where(np.arange(IMAGES) < 12, 0.5, 0.006)

    def rate(fall: float) -> float:
        failed = 0
        for _ in range(tries):
            base, head = [], []
            for seed in range(seeds):
                base.append(run(seed=seed, wrong=np.flatnonzero(generator.random(IMAGES) < hard)))
                lost = generator.random(IMAGES) < fall
                head.append(run(seed=seed, wrong=np.flatnonzero((generator.random(IMAGES) < hard) | lost)))
            failed += not judge(base, head).holds
        return failed / tries

    assert rate(0.031) >= found  # of those that are right: three points of all
    assert rate(0.0) <= false


# -- the text -----------------------------------------------------------------------------------------------------


def test_text_from_records_is_shown_and_never_read(run: Make) -> None:
    nasty = "a|b `c` <script>alert(1)</script>\n# @everyone ![x](http://e.vil) \u202eliw"
    base = run(config={"scope": "x"})
    head = run(config={"scope": nasty}, wrong=range(40)).model_copy(update={"status": "failed", "error": nasty})
    text = as_markdown(judge([base], [head]))
    assert "<script>" not in text and "@everyone" not in text and "http://" not in text and "\u202e" not in text
    assert "&#60;script&#62;" in text and "&#64;everyone" in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.count("|") == 11, line


def test_a_plain_name_stays_readable_and_a_long_text_is_cut() -> None:
    assert code("macs=0.25") == "`macs=0.25`"
    assert code("pruned MACs 1 → 2 (+1)") == "<code>pruned MACs 1 → 2 (+1)</code>"
    assert len(code("a b" * 1000)) < 400


def test_markdown_and_json_say_the_same(run: Make) -> None:
    gate = judge([run(), run(method="hbfp")], [run(wrong=range(30)), run(method="hbfp")])
    said = as_json(gate)
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert said["holds"] is False
    verdicts = {row["method"]: row["verdict"] for row in said["rows"]}
    assert verdicts == {"l1": "fails", "hbfp": "equal"}
    assert as_markdown(gate).startswith("### bench gate: fails\n")
    assert "| **fails** | `digits` | `l1` | `macs=0.5` | 0 | 97.50 → 92.50 | -5.00 ±" in as_markdown(gate)


# -- the command --------------------------------------------------------------------------------------------------


def stored(folder: Path, *records: Record) -> Path:
    for record in records:
        (folder / record.run_id).mkdir(parents=True)
        (folder / record.run_id / "record.json").write_text(record.to_json())
    return folder


def typed(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["gate", *words])
    return int(end.value.code or 0)


def test_the_command_prints_a_table_and_answers_by_its_exit_code(
    run: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = stored(tmp_path / "base", run(), run(method="hbfp"))
    same = stored(tmp_path / "same", run(), run(method="hbfp"))
    worse = stored(tmp_path / "worse", run(), run(method="hbfp", wrong=range(22)))
    assert typed("--baseline", str(base), "--store", str(same)) == 0
    assert "### bench gate: holds" in capsys.readouterr().out
    assert typed("--baseline", str(base), "--store", str(worse)) == 1
    assert "- `hbfp` at `macs=0.5` on `digits`: " in capsys.readouterr().out
    assert typed("--baseline", str(base), "--store", str(worse), "--method", "l1", "--track", "digits") == 0
    capsys.readouterr()
    assert typed("--baseline", str(base), "--store", str(worse), "--json") == 1
    assert json.loads(capsys.readouterr().out)["rows"][0]["verdict"] == "fails"


def test_the_command_fails_when_there_is_nothing_to_compare(
    run: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = stored(tmp_path / "head", run())
    empty = tmp_path / "empty"
    empty.mkdir()
    for baseline, said in ((tmp_path / "none", "is not a folder"), (empty, "the baseline has no records")):
        assert typed("--baseline", str(baseline), "--store", str(head)) == 1
        assert said in capsys.readouterr().out


@pytest.mark.parametrize("side", ["base", "head"])
@pytest.mark.parametrize(
    ("content", "said"), [("{", "run-x/record.json"), ('{"schema": 3}', "schema 3, but this version")]
)
def test_a_record_that_cannot_be_read_fails(
    run: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], side: str, content: str, said: str
) -> None:
    folders = {name: stored(tmp_path / name, run()) for name in ("base", "head")}
    (folders[side] / "run-x").mkdir()
    (folders[side] / "run-x" / "record.json").write_text(content)
    assert typed("--baseline", str(folders["base"]), "--store", str(folders["head"]), "--json") == 1
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert problem.startswith("run-x/record.json cannot be read: ")
    assert said in problem and str(tmp_path) not in problem


def test_wrong_usage_ends_with_code_2(run: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, head = (str(stored(tmp_path / name, run())) for name in ("base", "head"))
    assert typed("--store", head) == 2
    assert typed("--baseline", base, "--store", base) == 2
    assert "are the same folder" in capsys.readouterr().err
    assert typed("--baseline", base, "--store", head, "--track", "digit") == 2
    assert "unknown track of the baseline 'digit'. Did you mean 'digits'" in capsys.readouterr().err
    assert typed("--baseline", base, "--store", head, "--margin", "3") == 2

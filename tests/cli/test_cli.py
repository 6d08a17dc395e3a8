"""The command line as a user types it: exit codes, messages, JSON, and what is left behind."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from bench.cli.main import main
from bench.runner.run import Workplace


@dataclass
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str


Typed = Callable[..., Answer]


@pytest.fixture
def typed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, copied_nursery: None
) -> Typed:
    """`typed("run", "--method", "l1")`: in this process, in an empty folder, without an account."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    for name in [name for name in os.environ if name.startswith("WANDB_")] + ["BENCH_DATA"]:
        monkeypatch.delenv(name, raising=False)

    def call(*words: str) -> Answer:
        with pytest.raises(SystemExit) as end:
            main(list(words))
        captured = capfd.readouterr()
        return Answer(int(end.value.code or 0), captured.out, captured.err)

    return call


# -- refused before any work --------------------------------------------------------------------------------------

REFUSED = {
    "an unknown method": (["--method", "hbpf"], "unknown method 'hbpf'. Did you mean 'hbfp'"),
    "an unknown track": (["--track", "digits-lenet"], "unknown track 'digits-lenet'. Did you mean 'digits-lenet5'"),
    "a track file that is not there": (["--track", "no.toml"], "track file 'no.toml' does not exist"),
    "an unknown setting": (["--set", "pear=1"], "unknown setting of hbfp 'pear'. Did you mean 'pairs'"),
    "a setting out of range": (["--set", "pairs=7"], r"pairs: .* less than or equal to 1 \(given: "),
    "a target above 1": (["--target", "macs=1.5"], r"target macs=1.5 is outside \(0, 1\)"),
    "a target of 0": (["--target", "macs=0"], r"target macs=0.0 is outside \(0, 1\)"),
    "a target that is no number": (["--target", "macs=abc"], "'abc' is not a number"),
    "a target in another measure": (["--target", "flops=0.5"], "'flops' is not measured. Use macs=R or params=R"),
    "a negative seed": (["--seed", "-1"], "seed -1 is out of range. Use 0"),
    "a seed that is no number": (["--seed", "x"], "Invalid value for '--seed'"),
    "a budget without a unit": (["--budget", "30"], r"budget '30': use a positive number of dense epochs \(30ep\)"),
    "an unknown executor": (["--executor", "slurm"], "unknown executor 'slurm'.*Known: .*local"),
    "an unknown device": (["--device", "tpu"], "unknown device 'tpu'.*Known: auto, cpu, cuda"),
    "an unknown wandb mode": (["--wandb", "of"], "'of'.*(off|offline)"),
    "no workers": (["--workers", "0"], "Invalid value for '--workers'"),
    "an unknown option": (["--methods", "l1"], "No such option: --methods"),
    "a store in the way of which a file is": (["--store", "file"], "store 'file' cannot be written.*--store DIR"),
    "a store that cannot be made": (["--store", "/proc/x"], "store '/proc/x' cannot be written.*--store DIR"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_wrong_usage_ends_with_code_2_a_message_and_nothing_left_behind(typed: Typed, what: str) -> None:
    Path("file").write_text("")
    words, said = REFUSED[what]
    answer = typed("run", "--wandb", "off", *words)
    assert answer.code == 2
    assert answer.out == ""
    assert re.search(said, " ".join(answer.err.replace("│", " ").split())), answer.err
    assert "Traceback" not in answer.err
    assert [path.name for path in Path().iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("line", "by", "said"),
    [
        ("summary = ", "summary ", "not a TOML file"),
        ("floor = 0.5", "flor = 0.5", "floor: Field required; flor: Extra inputs are not permitted"),
        ("threads = 1", 'threads = "one"', r"threads: .*integer.*\(given: 'one'\)"),
        ('network = "lenet5"', 'network = "lennet5"', "unknown network 'lennet5'. Did you mean 'lenet5'"),
        ('network = "lenet5"', 'network = "timm:resnet-18"', "resnet18"),
    ],
)
def test_a_wrong_track_file_ends_with_code_2_and_nothing_left_behind(
    typed: Typed, smoke_track: Path, line: str, by: str, said: str
) -> None:
    Path("mine.toml").write_text(smoke_track.read_text().replace(line, by, 1))
    answer = typed("run", "--wandb", "off", "--track", "mine.toml")
    assert answer.code == 2
    assert re.search(said, answer.err), answer.err
    assert [path.name for path in Path().iterdir()] == ["mine.toml"]


def test_a_missing_data_folder_names_the_files_and_what_to_do(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.datasets._files._await_answer", lambda url: (_ for _ in ()).throw(OSError("offline")))
    answer = typed("run", "--wandb", "off", "--track", "mnist-lenet5", "--data", "data")
    assert answer.code == 2
    assert re.search(r"'mnist' is not complete: .*train-images-idx3-ubyte.*--data DIR or BENCH_DATA", answer.err)
    assert not Path("runs").exists()


def test_a_damaged_data_file_is_named(typed: Typed) -> None:
    raw = Path("data/MNIST/raw")
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            (raw / f"{part}-{kind}-ubyte").write_bytes(b"damaged")
    answer = typed("run", "--wandb", "off", "--track", "mnist-lenet5", "--data", "data")
    assert answer.code == 2
    assert re.search(r"train-images-idx3-ubyte is damaged: its MD5 is", answer.err)
    assert not Path("runs").exists()


# -- one real command, and what can be asked after it -------------------------------------------------------------


@pytest.fixture
def ran(typed: Typed, smoke_track: Path, workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """`bench run --method l1` on the smoke track, in the shared store."""
    monkeypatch.setattr("bench.runner.run.LATENCY_SECONDS", 0.01)
    return typed(*command(smoke_track, workplace))


def command(track: Path, workplace: Workplace, *more: str) -> list[str]:
    words = ["run", "--method", "l1", "--track", str(track), "--target", "macs=0.4", "--wandb", "off"]
    return [*words, "--store", str(workplace.store.root), *more]


def test_a_run_says_what_came_of_it_and_where_it_is(ran: Answer, workplace: Workplace) -> None:
    assert ran.code == 0
    assert re.search(r"^ l1 +macs=0.4 +1 +\d", ran.out, re.MULTILINE)
    assert max(len(line.rstrip()) for line in ran.out.splitlines()[:-1]) <= 80
    (page,) = re.findall(r"^page    (.*)$", ran.out, re.MULTILINE)
    assert Path(page).is_file()
    assert re.search(r"^\[1/1\] l1 smoke macs=0.4 seed 0: ", ran.err, re.MULTILINE)
    assert "\x1b" not in ran.err


def test_the_same_command_again_says_done_already(
    ran: Answer, typed: Typed, smoke_track: Path, workplace: Workplace
) -> None:
    again = typed(*command(smoke_track, workplace))
    assert again.code == 0
    assert "[1/1] l1 smoke macs=0.4 seed 0: done already: ok" in again.err


def test_json_is_one_array_of_records_and_nothing_else(
    ran: Answer, typed: Typed, smoke_track: Path, workplace: Workplace
) -> None:
    answer = typed(*command(smoke_track, workplace, "--json"))
    (record,) = json.loads(answer.out)
    assert (record["schema"], record["method"], record["status"]) == (2, "l1", "ok")


def test_a_run_is_shown_by_the_beginning_of_its_name_or_hash(ran: Answer, typed: Typed, workplace: Workplace) -> None:
    store = str(workplace.store.root)
    (run_id,) = [each.parent.name for each in workplace.store.root.glob("l1-smoke-macs0.4-*/record.json")]
    for name in (run_id, "l1-smoke-macs0.4", run_id.rpartition("-")[2][:6]):
        shown = typed("show", name, "--store", store)
        assert shown.code == 0
        assert run_id in shown.out
        assert "scope = uniform" in shown.out
        assert "run it again: bench run --method l1" in shown.out
    assert json.loads(typed("show", run_id, "--store", store, "--json").out)["run_id"] == run_id


def test_a_name_of_several_runs_lists_them(ran: Answer, typed: Typed) -> None:
    shown = typed("show", "hbfp-digits-lenet5-macs0.5", "--store", "nowhere")  # of the committed results
    assert shown.code == 0
    assert sum(line.startswith("bench show hbfp-digits-lenet5-macs0.5-s") for line in shown.out.splitlines()) == 3


def test_showing_what_is_not_there_ends_with_code_2(ran: Answer, typed: Typed, workplace: Workplace) -> None:
    answer = typed("show", "l2-smoke", "--store", str(workplace.store.root))
    assert (answer.code, answer.out) == (2, "")
    assert "unknown run 'l2-smoke'" in answer.err
    assert "no store at 'nowhere'" in typed("show", "x", "--store", "nowhere").err


def test_a_page_is_drawn_from_a_store(ran: Answer, typed: Typed, workplace: Workplace) -> None:
    answer = typed("leaderboard", "--store", str(workplace.store.root), "--out", "page")
    assert answer.code == 0
    assert Path("page/index.html").is_file()


# -- lists --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("methods", ["dense", "random", "scratch", "hbfp", "id-rl", "l1", "olmp", "magnitude", "random-weights"]),
        ("tracks", ["digits-lenet5", "mnist-lenet5", "mnist-lenet300"]),
        ("datasets", ["digits", "mnist"]),
        ("networks", ["lenet5", "resnet56", "timm:NAME"]),
        ("claims", ["hbfp-lenet5", "olmp-alexnet"]),
    ],
)
def test_what_is_installed_is_listed_as_a_table_and_as_json(typed: Typed, what: str, names: list[str]) -> None:
    rows = json.loads(typed("list", what, "--json").out)
    assert set(names) <= {row["name"] for row in rows}
    table = typed("list", what)
    assert table.code == 0
    assert all(name in table.out for name in names)


def test_the_settings_of_a_method_are_listed_with_what_they_do(typed: Typed) -> None:
    rows = json.loads(typed("list", "l1", "--json").out)
    assert {"setting": "scope", "default": "uniform"}.items() <= rows[0].items()
    table = typed("list", "olmp").out
    assert "settings of olmp" in table and "delta" in table and "0.02" in table


def test_an_unknown_list_is_answered_with_the_known_ones(typed: Typed) -> None:
    answer = typed("list", "method")
    assert answer.code == 2
    assert "unknown list 'method'. Did you mean 'methods'" in answer.err


# -- as a process -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_runs_of_another_packages_methods_go_on_after_one_that_fails(
    bench: Callable[..., CompletedProcess[str]], smoke_track: Path, tmp_path: Path
) -> None:
    store = tmp_path / "runs"
    words = ["run", "--method", "clumsy,loafer,halve", "--track", str(smoke_track), "--target", "macs=0.5"]
    done = bench(*words, "--store", str(store), "--wandb", "off", "--json")
    assert done.returncode == 1
    records = json.loads(done.stdout)
    assert [(each["method"], each["status"]) for each in records] == [
        ("clumsy", "failed"),
        ("loafer", "missed-target"),
        ("halve", "ok"),
    ]
    assert "ValueError: the plugin's own mistake" in records[0]["error"]
    assert "[3/3] halve smoke macs=0.5 seed 0: ok, top-1" in done.stderr
    assert "halve smoke macs=0.5 seed 0: fine-tuning" in done.stderr
    assert len(list(store.glob("dense/*/weights.safetensors"))) == 1

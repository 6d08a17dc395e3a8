"""Claims: what may stand in a file, which track it makes, and which runs it plans."""

import json
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.runner.jobs import RunRequest, make_plan
from bench.specs.claim import PREFIX, Claim, claim_names, load_claim
from bench.specs.track import load_track, track_names

NUMBER = """
[[numbers]]
measure = "macs_reduction"
claimed = 75
target = "macs=0.25"
loss = 0
loss_tolerance = 0.5
source = "table 1"
"""
CLAIM = """
summary = "Four times fewer MACs."
method = "l1"
paper = "Li et al. 2017"
track = "digits-lenet5"
seeds = [3, 4]

[schedule]
budget.dense_epochs = 5
dense.epochs = 2

[settings]
scope = "global"
"""


@pytest.fixture
def claim_file(tmp_path: Path) -> Path:
    path = tmp_path / "made-up.toml"
    path.write_text(CLAIM + NUMBER)
    return path


@pytest.mark.parametrize("name", claim_names())
def test_every_claim_has_a_source_a_track_and_two_sides(name: str) -> None:
    claim = load_claim(name)
    assert claim.base in track_names()
    assert claim.track.name == (PREFIX + name if claim.own_runs else claim.base)
    assert set(claim.track.targets) >= {number.target for number in claim.numbers}
    assert any(number.published for number in claim.numbers)
    for number in claim.numbers:
        assert number.loss is not None or number.rival


def test_the_numbers_of_the_papers_are_there() -> None:
    claimed = {
        (claim.method, number.measure, number.claimed)
        for claim in map(load_claim, claim_names())
        for number in claim.numbers
    }
    assert {("hbfp", "macs_reduction", value) for value in (97.98, 83.42, 78.43, 74.95, 75.45)} <= claimed
    assert {("olmp", "compression", value) for value in (114, 298, 82)} <= claimed
    assert {("id-rl", "filters_removed_by_layer", value) for value in (78.48, 77.9, 83.12)} <= claimed
    assert {("entropy-rl", "macs_reduction", value) for value in (80, 90)} <= claimed
    assert {("entropy-rl", "top1_lead", 0), ("cluster-rl", "top1_lead", 0)} <= claimed


def test_a_claim_changes_its_own_schedule_and_nothing_else(claim_file: Path) -> None:
    track, base = load_claim(str(claim_file)).track, load_track("digits-lenet5")
    assert (track.budget.dense_epochs, track.dense.epochs) == (5, 2)
    assert track.dense.learning_rate == base.dense.learning_rate
    assert track.finetune == base.finetune
    assert (track.network, track.dataset, track.tolerance) == (base.network, base.dataset, base.tolerance)
    assert (track.name, track.targets, track.seeds) == ("claim-made-up", ("macs=0.25",), (3, 4))


def test_a_claim_plans_its_method_at_its_targets_with_the_control(claim_file: Path) -> None:
    jobs = make_plan(RunRequest(claims=(str(claim_file),)))
    planned = {(job.spec.method, str(job.spec.target), job.spec.seed) for job in jobs}
    assert planned == {("l1", "macs=0.25", 3), ("l1", "macs=0.25", 4), ("dense", "none", 3), ("dense", "none", 4)}
    assert {job.spec.config.get("scope") for job in jobs if job.spec.method == "l1"} == {"global"}
    one = next(job for job in jobs if job.spec.method == "l1")
    assert one.command == f"bench run --claim {claim_file} --method l1 --seed 3 --target macs=0.25"
    words = one.command.split()
    again = make_plan(RunRequest(claims=(words[3],), methods=(words[5],), seeds=(int(words[7]),), targets=(words[9],)))
    assert [job.spec for job in again] == [one.spec]


def test_rivals_are_run_at_the_same_target_with_their_own_settings(tmp_path: Path) -> None:
    lead = '[[numbers]]\nmeasure = "top1_lead"\nclaimed = 0\ntarget = "macs=0.5"\nrival = "random"\nsource = "x"\n'
    path = tmp_path / "duel.toml"
    path.write_text(CLAIM + NUMBER + lead)
    planned = {(job.spec.method, str(job.spec.target)) for job in make_plan(RunRequest(claims=(str(path),)))}
    assert planned == {("l1", "macs=0.25"), ("l1", "macs=0.5"), ("random", "macs=0.5"), ("dense", "none")}


def test_a_claim_may_be_read_from_the_runs_of_its_tracks_table(tmp_path: Path) -> None:
    path = tmp_path / "shared.toml"
    lead = '[[numbers]]\nmeasure = "top1_lead"\nclaimed = 0\ntarget = "macs=0.5"\nrival = "l1"\nsource = "x"\n'
    head = CLAIM[: CLAIM.index("[schedule]")] + "own_runs = false\n"
    path.write_text(head + lead + 'rival_settings = { scope = "global" }\n')
    jobs = make_plan(RunRequest(claims=(str(path),)))
    asked = {"tracks": ("digits-lenet5",), "targets": ("macs=0.5",), "seeds": (3, 4)}
    table = make_plan(RunRequest(methods=("dense", "l1"), **asked))
    table += make_plan(RunRequest(methods=("l1",), settings=("scope=global",), **asked))
    assert {(job.spec.run_id, job.command) for job in jobs} == {(job.spec.run_id, job.command) for job in table}


def test_claims_of_one_track_share_its_runs(tmp_path: Path) -> None:
    names = []
    for method in ("l1", "hbfp"):
        head = CLAIM[: CLAIM.index("[schedule]")].replace('"l1"', f'"{method}"') + "own_runs = false\n"
        path = tmp_path / f"{method}.toml"
        path.write_text(head + NUMBER)
        names.append(str(path))
    jobs = make_plan(RunRequest(claims=tuple(names), seeds=(3,)))
    assert sorted(job.spec.method for job in jobs) == ["dense", "hbfp", "l1"]


def test_a_claim_without_runs_of_its_own_has_no_schedule(tmp_path: Path) -> None:
    path = tmp_path / "shared.toml"
    path.write_text(CLAIM.replace("[schedule]", "own_runs = false\n\n[schedule]") + NUMBER)
    with pytest.raises(UsageError, match="own_runs = false reads the track's own runs: they have no other schedule"):
        load_claim(str(path))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"tracks": ("digits-lenet5",)}, "--track does not go with --claim"),
        ({"budget": "3ep"}, "--budget does not go with --claim"),
        ({"settings": ("scope=uniform",)}, "--set does not go with --claim"),
        ({"methods": ("hbfp",)}, "unknown method of claim made-up 'hbfp'.* Known: dense, l1"),
        ({"targets": ("macs=0.5",)}, "unknown target of claim made-up 'macs=0.5'.*Known: macs=0.25"),
    ],
)
def test_what_would_not_be_the_claim_is_refused(claim_file: Path, asked: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make_plan(RunRequest(claims=(str(claim_file),), **asked))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("loss = 0\n", "", "macs_reduction needs a loss: a size without an accuracy claims nothing"),
        ('measure = "macs_reduction"', 'measure = "flops"', "measure: Input should be 'macs_reduction'"),
        ('measure = "macs_reduction"', 'measure = "top1_lead"', "top1_lead needs a rival"),
        ('target = "macs=0.25"', 'target = "macs=2"', r"macs=2.0 is outside \(0, 1\)"),
        ("seeds = [3, 4]", "seeds = []", "seeds: .*at least 1 item"),
        ('track = "digits-lenet5"', "", "track: Field required"),
        ("claimed = 75", "claimed = -75", "claimed: .*greater than or equal to 0"),
    ],
)
def test_a_wrong_field_is_named(claim_file: Path, old: str, new: str, said: str) -> None:
    text = claim_file.read_text()
    assert old in text
    claim_file.write_text(text.replace(old, new))
    with pytest.raises(UsageError, match=said):
        load_claim(str(claim_file))


def test_a_schedule_that_is_no_tracks_is_refused(claim_file: Path) -> None:
    claim_file.write_text(claim_file.read_text().replace("dense.epochs = 2", "dense.epoch = 2"))
    with pytest.raises(UsageError, match="claim made-up: its schedule: dense.epoch: Extra inputs"):
        make_plan(RunRequest(claims=(str(claim_file),)))


def test_a_wrong_name_lists_the_right_ones() -> None:
    with pytest.raises(UsageError, match="unknown claim 'hbfp-lenet'.*Did you mean 'hbfp-lenet5'"):
        load_claim("hbfp-lenet")


def test_settings_keep_their_types() -> None:
    numbers = [{"measure": "compression", "claimed": 2, "target": "auto", "loss": 0, "source": "x"}]
    claim = Claim.model_validate(
        {
            "name": "x",
            "summary": "x",
            "method": "olmp",
            "paper": "x",
            "track": "mnist-lenet5",
            "settings": {"bounds": [1.5, 2], "layers": "all", "released_search": True},
            "numbers": numbers,
        }
    )
    words = dict(word.split("=", 1) for word in claim.setting_words())
    assert json.loads(words["olmp.bounds"]) == [1.5, 2]
    assert (words["olmp.layers"], words["olmp.released_search"]) == ("all", "true")

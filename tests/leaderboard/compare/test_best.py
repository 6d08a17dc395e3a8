"""The best method is chosen on validation; what it cannot be told apart from is said on test."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from bench.errors import UsageError
from bench.leaderboard.compare.best import best_of
from bench.measure.accuracy import pack_bits
from bench.records.record import Record
from bench.specs.track import Track

IMAGES = 400
TRACK = Track.model_validate(
    {
        "name": "mine",
        "summary": "",
        "dataset": "digits",
        "network": "lenet5",
        "floor": 0.1,
        "targets": ["macs=0.5"],
        "validation": {"images": 100},
        "dense": {"epochs": 1, "learning_rate": 0.1},
        "finetune": {"learning_rate": 0.1},
        "budget": {"dense_epochs": 2},
    }
)


@pytest.fixture
def record(whole_record: Record) -> Callable[..., Record]:
    """`record("l1", seed, val, wrong)`: a run that is right on all test images but those in `wrong`."""

    def make(method: str, seed: int, val: float, wrong: Sequence[int], **changes: object) -> Record:
        assert whole_record.pruned
        right = torch.ones(IMAGES, dtype=torch.bool)
        right[list(wrong)] = False
        update = {"top1_val": val, "top1_test": int(right.sum()) / IMAGES, "correct_test": pack_bits(right)}
        return whole_record.model_copy(
            update={
                "run_id": f"{method}-{seed}",
                "method": method,
                "control": method in ("random", "dense", "scratch"),
                "seed": seed,
                "config": {},
                "track": "mine",
                "track_fields": TRACK.model_dump(mode="json"),
                "target": "none" if method == "dense" else "macs=0.5",
                "pruned": whole_record.pruned.model_copy(update=update),
                **changes,
            }
        )

    return make


def test_the_winner_is_chosen_on_validation_and_held_against_the_rest_on_test(record: Callable[..., Record]) -> None:
    draw = np.random.default_rng(0)
    near, far = draw.permutation(IMAGES)[:20], draw.permutation(IMAGES)[:120]
    rows = [
        *(record("a", seed, 0.95, range(18)) for seed in range(3)),
        *(record("b", seed, 0.94, near) for seed in range(3)),  # 2 images worse, on other images
        *(record("c", seed, 0.70, far) for seed in range(3)),
        *(record("random", seed, 0.99, far) for seed in range(3)),  # a control does not win
        *(record("dense", seed, 0.99, range(12, 28)) for seed in range(3)),
        record("d", 0, 0.99, range(0)),  # one lucky seed
    ]
    found = best_of(rows, TRACK, "macs=0.5")
    assert (found.winner.label, found.winner.run.run_id) == ("a", "a-0")
    assert [(rival.candidate.label, rival.apart) for rival in found.rivals] == [("b", False), ("c", True)]
    assert found.rivals[0].lead and found.rivals[0].lead.mean == pytest.approx(2 / IMAGES)
    assert [candidate.label for candidate in found.fewer] == ["d"]
    assert {rival.candidate.label: rival.apart for rival in found.controls} == {"random": True, "dense": False}
    text = "\n".join(found.lines())
    assert "best at macs=0.5 on mine: a\n" in text
    assert "0.9550 on test, mean of 3 seeds" in text
    assert "random pruning: 0.7000 on test; the lead over it is +25.5 points" in text
    assert "a is not told apart from it" in text.split("dense network with the same training")[1]
    assert "bench export a-0 --to onnx" in text
    assert found.as_json()["winner"]["runs"] == ["a-0", "a-1", "a-2"]


def test_runs_with_other_settings_of_the_track_are_left_out(record: Callable[..., Record]) -> None:
    other = {**TRACK.model_dump(mode="json"), "budget": {"dense_epochs": 9.0, "search_share": 0.3}}
    rows = [record("a", 0, 0.9, range(5)), record("b", 0, 0.99, range(1), track_fields=other)]
    found = best_of(rows, TRACK, "macs=0.5")
    assert (found.winner.label, found.rivals, found.others) == ("a", (), 1)
    assert "left out: 1 runs with other settings" in "\n".join(found.lines())
    # a field that came later, at its default, is no other setting
    older = {name: value for name, value in TRACK.model_dump(mode="json").items() if name not in ("weights", "images")}
    assert best_of([record("a", 0, 0.9, (), track_fields=older)], TRACK, "macs=0.5").winner.label == "a"


def test_without_a_run_it_says_what_there_is(record: Callable[..., Record]) -> None:
    rows = [record("a", 0, 0.9, ()), record("l1", 1, 0.9, (), status="undertrained", target="macs=0.25")]
    with pytest.raises(UsageError, match=r"1 are undertrained; there are runs at macs=0.5. Run some: bench run"):
        best_of(rows, TRACK, "macs=0.25")

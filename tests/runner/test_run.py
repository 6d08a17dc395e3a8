"""One run, from job to record, whatever its end."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench import Config, Control, Method, Record, Trial
from bench.measure.network import tensors_sha256
from bench.records.record import parse_record
from bench.runner.run import Workplace
from bench.specs.track import load_track
from bench.surgery import read_network

Run = Callable[..., Record]


class Idle(Method):
    """Keeps everything."""

    name = "idle"
    reference = "a toy"

    def prune(self, trial: Trial) -> None:
        """Nothing."""


class Broken(Method):
    """Raises after some work."""

    name = "broken"
    reference = "a toy"

    def prune(self, trial: Trial) -> None:
        """Fails in its own code."""
        trial.train(epochs=1)
        raise LookupError("the plugin's own mistake")


class Exploding(Method):
    """Has a loss that is not finite."""

    name = "exploding"
    reference = "a toy"

    def prune(self, trial: Trial) -> None:
        """NaN from the first step on."""
        trial.train(epochs=1, loss=lambda _net, outputs, _labels: outputs.sum() * float("inf"))


class Sparse(Method):
    """Masks the smallest weights of every layer, and trains on by itself."""

    name = "sparse"
    reference = "a toy"
    kind = "unstructured"
    finetunes = "itself"

    def prune(self, trial: Trial) -> None:
        """Keeps the largest weights, so many of each tensor as the target says."""
        masks = {}
        for name, mask in trial.surgery.weights.masks.items():
            weight = trial.network.get_parameter(name).detach().abs()
            least = weight.flatten().kthvalue(max(1, round(mask.numel() * (1 - (trial.target.ratio or 1))))).values
            masks[name] = weight > least
        trial.surgery.weights.set(masks)
        trial.train(epochs=1)


class Greedy(Config):
    """Settings of `spender`."""

    share: float = 1.0


class Spender(Method):
    """Spends all on its own training, and then asks for more."""

    name = "spender"
    reference = "a toy"
    Config = Greedy

    def prune(self, trial: Trial) -> None:
        """Removes when nothing is left."""
        trial.train(share=trial.config.share)
        trial.train(epochs=3)
        trial.surgery.remove(trial.surgery.fit())
        trial.log(left=trial.ledger.left)


class Reseeding(Method):
    """Reseeds the global generators, as agents do, and draws from its own."""

    name = "reseeding"
    reference = "a toy"

    def prune(self, trial: Trial) -> None:
        """What is drawn from `trial.rng` must not depend on the reseeding."""
        torch.manual_seed(len(trial.history.epochs) + int(torch.randint(1000, ())))
        lots = {group.name: torch.rand(group.width, generator=trial.rng) for group in trial.surgery.groups}
        trial.train(epochs=0.2)
        trial.surgery.remove(trial.surgery.fit(lots))


def test_a_run_that_meets_its_target_is_ok_and_its_record_is_complete(run: Run, workplace: Workplace) -> None:
    record = run("l1", "macs=0.5")
    assert record.status == "ok"
    assert record.error is None
    assert record.dense is not None
    assert record.pruned is not None
    assert record.ratios is not None
    assert record.ratios.macs == pytest.approx(0.5, rel=0.05)
    assert record.ratios.macs == record.pruned.macs / record.dense.macs
    assert [layer.name for layer in record.layers] == ["conv1", "conv2", "fc1", "fc2"]
    assert [layer.width_before for layer in record.layers] == [20, 50, 500, 10]
    kept = sum(layer.width_after for layer in record.layers[:2])
    assert record.ratios.filters_removed == pytest.approx(1 - kept / 70)
    assert record.dense.macs_convolutions == 24 * 24 * 20 * 25 + 8 * 8 * 50 * 20 * 25
    assert record.pruned.macs_convolutions == sum(layer.macs for layer in record.layers[:2])
    assert {point.phase for point in record.curve} == {"dense", "prune", "finetune"}
    assert [row.batch for row in record.pruned.latency] == [1, 64]
    assert record.spent == pytest.approx(4, abs=0.1)
    assert record.spent <= 4
    for fact in ("version", "libraries", "hardware", "threads", "data_fingerprint", "dense_sha256", "command"):
        assert record.manifest[fact], fact
    assert "bench run --method l1" in record.manifest["command"]
    path = workplace.store.record_path(record.run_id)
    assert parse_record(path.read_bytes(), "disk") == record


def test_the_pruned_network_is_in_the_store_with_the_records_hash(run: Run, workplace: Workplace) -> None:
    record = run("l1", "macs=0.5")
    description, tensors = read_network(workplace.store.folder(record.run_id) / "network.safetensors")
    assert record.pruned is not None
    assert description["network"] == "lenet5"
    assert tensors_sha256(tensors) == record.pruned.weights_sha256


def test_a_method_that_keeps_everything_has_missed_its_target(run: Run) -> None:
    record = run(Idle)
    assert record.status == "missed-target"
    assert record.ratios is not None
    assert (record.ratios.macs, record.ratios.params, record.ratios.filters_removed) == (1.0, 1.0, 0.0)


def test_a_dense_network_below_the_floor_makes_the_record_undertrained(
    run: Run, smoke_track: Path, tmp_path: Path
) -> None:
    high = tmp_path / "high.toml"
    high.write_text(smoke_track.read_text().replace("floor = 0.5", "floor = 0.9999"))
    assert run("l1", track=high).status == "undertrained"


def test_a_method_that_raises_is_a_failed_record_with_its_traceback(run: Run) -> None:
    record = run(Broken)
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.startswith("Traceback")
    assert "LookupError: the plugin's own mistake" in record.error
    assert record.pruned is None
    assert record.ledger["prune"].images_trained == 597
    assert record.curve[-1].phase == "prune"


def test_a_loss_that_is_not_finite_is_a_failed_record_that_says_where(run: Run) -> None:
    record = run(Exploding)
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.startswith("Diverged: the training loss is")
    assert "step 0" in record.error


def test_an_unstructured_run_keeps_its_zeros_and_counts_them_apart(run: Run) -> None:
    record = run(Sparse, "params=0.25")
    assert record.status == "ok"
    assert record.dense is not None
    assert record.pruned is not None
    assert record.pruned.macs == record.dense.macs
    assert record.pruned.macs_nonzero < 0.5 * record.pruned.macs
    assert record.pruned.nonzero == pytest.approx(0.25 * record.dense.params, rel=0.05)
    assert record.pruned.params == record.dense.params
    assert record.ledger["finetune"].steps == 0


def test_nothing_more_is_spent_once_the_budget_is(run: Run) -> None:
    record = run(Spender)
    assert record.status == "ok"
    assert record.spent is not None
    assert record.spent <= 4
    logged = next(point for point in record.curve if "left" in point.values)
    assert logged.values["left"] == pytest.approx(0, abs=0.1)


def test_a_budget_in_seconds_is_spent_in_seconds(run: Run) -> None:
    record = run("l1", budget="2s")
    assert record.budget.unit == "device_seconds"
    assert record.spent == record.ledger["total"].device_seconds
    assert record.status == "ok"


def test_every_method_starts_from_the_same_checkpoint(run: Run) -> None:
    records = [run(method) for method in ("l1", "hbfp", Idle)]
    hashes = {record.manifest["dense_sha256"] for record in records}
    assert len(hashes) == 1
    assert {record.dense.weights_sha256 for record in records if record.dense} == hashes
    assert len({(record.budget.amount, record.budget.dense_epoch_macs) for record in records}) == 1
    assert {record.ledger["dense"].macs for record in records} == {records[0].ledger["dense"].macs}


def test_the_same_run_gives_a_bitwise_equal_network_whatever_the_global_generators_do(run: Run) -> None:
    hashes = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        record = run(Reseeding)
        assert record.pruned is not None
        hashes.append(record.pruned.weights_sha256)
    assert hashes[0] == hashes[1]


def test_another_seed_gives_another_network(run: Run) -> None:
    records = [run("l1", seed=seed) for seed in (0, 1)]
    assert records[0].manifest["dense_sha256"] != records[1].manifest["dense_sha256"]
    assert records[0].manifest["data_fingerprint"] == records[1].manifest["data_fingerprint"]


def test_a_method_never_holds_a_test_image(run: Run) -> None:
    sizes = []

    class Curious(Control):
        name = "curious"
        reference = "a toy"

        def prune(self, trial: Trial) -> None:
            sizes.extend(
                [len(trial._passes.data.test), len(trial._passes.data.validation), len(trial._passes.data.train)]
            )

    run(Curious)
    assert sizes == [0, 800, 597]


def test_a_record_carries_all_fields_of_its_track(run: Run, smoke_track: Path) -> None:
    record = run("l1")
    assert record.track_fields == load_track(str(smoke_track)).model_dump(mode="json")

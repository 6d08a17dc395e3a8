"""A small factory of records, many at once, and pages read again."""

import base64
import json
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.leaderboard.board.comparable import digest
from bench.records.record import Measured, Record

MakeRecord = Callable[..., Record]


@pytest.fixture(scope="session")
def make_record() -> MakeRecord:
    """`make_record(method="l1", seed=0, top1=0.8, ...)`: a whole record; other fields as in `Record`."""
    return _make


@pytest.fixture
def synthetic_records() -> Callable[..., list[Record]]:
    """`synthetic_records(tracks=1, targets=1, methods=20, seeds=5)`: whole records with correct bits, quickly made."""
    return lambda **numbers: list(_synthetic(**numbers))


@pytest.fixture
def with_bits() -> Callable[[Record, NDArray[np.bool_]], Record]:
    """`with_bits(record, right)`: the record with a pruned network that is right on these test images."""
    return lambda record, right: record.model_copy(update={"pruned": _scored(record.pruned, right)})


def _make(
    *,
    method: str = "l1",
    target: str = "macs=0.5",
    seed: int = 0,
    top1: float = 0.8,
    dense_top1: float = 0.9,
    macs: int = 500_000,
    pruned_ms: tuple[float, float] = (1.0, 6.0),
    device_class: str = "cpu",
    **fields: Any,
) -> Record:
    dense = _measured(dense_top1, 1_000_000, (2.0, 12.0))
    spent = {
        "steps": 10,
        "images_forward": 20,
        "images_trained": 30,
        "macs": 45_000,
        "device_seconds": 60.0 + seed,
    }
    record: dict[str, Any] = {
        "run_id": f"{method}-digits-{target.replace('=', '')}-s{seed}-0123456789ab",
        "status": "ok",
        "method": method,
        "kind": "structured",
        "control": False,
        "config": {},
        "track": "digits",
        "track_fields": {
            "summary": "Handwritten digits.",
            "dataset": "digits",
            "network": "lenet5",
            "floor": 0.95,
        },
        "target": target,
        "seed": seed,
        "dense": dense,
        "pruned": _measured(top1, macs, pruned_ms),
        "ratios": {"macs": macs / 1e6, "params": 0.4, "compression": 2.5, "filters_removed": 0.5},
        "budget": {"amount": 50.0, "unit": "dense_epochs", "dense_epoch_macs": 1000},
        "ledger": {"total": spent},
        "curve": [{"phase": "finetune", "epoch": 40, "spent": 45.0, "values": {"top1_val": top1}}],
        "manifest": {
            "command": f"bench run --method {method} --target {target} --seed {seed}",
            "device_class": device_class,
        },
    }
    record |= fields
    if record["pruned"]:
        # each run its own network, and one dense network a seed
        record["pruned"]["weights_sha256"] = digest([method, target, seed, record["config"], record["run_id"]])
    return Record.model_validate(record)


def _measured(top1: float, macs: int, milliseconds: tuple[float, float]) -> dict[str, Any]:
    return {
        "top1_val": top1,
        "top1_test": top1,
        "correct_test": "",
        "macs": macs,
        "macs_nonzero": macs // 2,
        "params": macs // 10,
        "nonzero": macs // 10,
        "bytes": 4 * macs,
        "peak_bytes": 8 * macs,
        "latency": [
            {"batch": batch, "median_seconds": value / 1e3, "iqr_seconds": 1e-5, "runs": 100}
            for batch, value in zip((1, 64), milliseconds, strict=True)
        ],
        "weights_sha256": "ab",
    }


class Elements(HTMLParser):
    """Start tags with their attributes, text by the tag it stands in, and the text of script elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        (self.scripts if self.cdata_elem == "script" else self.texts).append(data)

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        """Tags and names of attributes, in order."""
        return [(tag, tuple(attributes)) for tag, attributes in self.tags]


@pytest.fixture
def elements() -> Callable[[Path], Elements]:
    """`elements(page)`: the page, parsed."""
    return lambda page: Elements(page.read_text())


@pytest.fixture
def figures() -> Callable[[Path], list[dict[str, Any]]]:
    """`figures(page)`: its plots."""
    return lambda page: [json.loads(text) for text in Elements(page.read_text()).scripts if text.strip()]


@pytest.fixture(scope="session")
def full_fields() -> Callable[[str], dict[str, Any]]:
    """`full_fields(text)`: fields that a bare record does without, with `text` wherever one may stand."""
    return _full_fields


def _full_fields(text: str) -> dict[str, Any]:
    spent = {"steps": 10, "images_forward": 20, "images_trained": 30}
    return {
        "config": {"rounds": 2, text: text, "nested": {text: [text]}},
        "left_out": {text: text},
        "layers": [
            {"name": f"conv1{text}", "width_before": 20, "width_after": 5, "params": 10, "nonzero": 10, "macs": 100},
            {"name": f"fc{text}", "width_before": 10, "width_after": 10, "params": 10, "nonzero": 10, "macs": 10},
        ],
        "ledger": {
            "dense": {**spent, "macs": 20_000, "device_seconds": 20.0},
            "search": {**spent, "macs": 5_000, "device_seconds": 10.0},
            "prune": {**spent, "macs": 10_000, "device_seconds": 15.0},
            "finetune": {**spent, "macs": 10_000, "device_seconds": 15.0},
            "total": {**spent, "macs": 45_000, "device_seconds": 60.0},
        },
        "curve": [
            {"phase": "dense", "epoch": 20, "spent": 20.0, "values": {"train_loss": 0.5, "top1_val": 0.9}},
            {"phase": "search", "epoch": 20, "spent": 22.0, "values": {"reward": 0.4, "best": 0.4, text: 1.0}},
            {"phase": "search", "epoch": 20, "spent": 24.0, "values": {"reward": 0.3, "best": 0.4, text: None}},
            {"phase": "prune", "epoch": 2, "spent": 35.0, "values": {"train_loss": 0.4, "macs": 500_000}},
            {"phase": "finetune", "epoch": 4, "spent": 45.0, "values": {"train_loss": 0.3, "top1_val": 0.8}},
        ],
        "manifest": {
            "command": f"bench run {text}",
            "device_class": text,
            "method_sha256": text,
            "libraries": {text: text, "torch": None},
            text: text,
        },
        "track_fields": {
            "summary": text,
            "dataset": text,
            "network": text,
            "tolerance": text,
            "threads": text,
            "floor": text,
            "ranked": text,
            text: [text],
        },
    }


def _synthetic(
    *,
    tracks: int = 1,
    targets: int = 1,
    methods: int = 20,
    seeds: int = 5,
    images: int = 10_000,
    spread: float = 0.002,
) -> Iterator[Record]:
    """Records of `tracks` x `targets` x `methods` x `seeds`.

    Test images differ in difficulty, alike for all networks; methods differ in skill by 0.0 to 0.1 in equal steps,
    and seeds by a normal deviate of `spread`.

    Args:
        tracks, targets, methods, seeds: how many.
        images: size of the test split.
        spread: standard deviation between seeds, a fraction.
    """
    plain = _make()
    generator = np.random.default_rng(6)
    difficulty = generator.beta(0.3, 3, images)  # most images are easy
    for track in range(tracks):
        ratios = [round(0.9 ** (number + 1), 4) for number in range(targets)]
        fields = {**plain.track_fields, "targets": [f"macs={ratio}" for ratio in ratios]}
        for ratio in ratios:
            for method in range(methods):
                skill = 0.1 * method / methods + spread * generator.standard_normal(seeds)
                right = generator.random((seeds, images), dtype=np.float32) > (difficulty - skill[:, None])
                for seed in range(seeds):
                    yield _record(plain, f"track{track}", fields, ratio, f"method{method}", seed, right[seed])


def _record(
    plain: Record, track: str, fields: dict[str, Any], ratio: float, method: str, seed: int, right: NDArray[np.bool_]
) -> Record:
    assert plain.pruned
    assert plain.ratios
    target = f"macs={ratio}"
    return plain.model_copy(
        update={
            "run_id": f"{method}-{track}-{target.replace('=', '')}-s{seed}",
            "method": method,
            "track": track,
            "track_fields": fields,
            "target": target,
            "seed": seed,
            "pruned": _scored(plain.pruned, right).model_copy(
                update={"weights_sha256": f"{method}-{track}-{target}-{seed}"}
            ),
            "ratios": plain.ratios.model_copy(update={"macs": ratio}),
        }
    )


def _scored(measured: Measured, right: NDArray[np.bool_]) -> Measured:
    """The network with these correct bits, and the accuracy that follows from them."""
    bits = base64.b64encode(np.packbits(right).tobytes()).decode()
    return measured.model_copy(update={"top1_test": int(right.sum()) / len(right), "correct_test": bits})

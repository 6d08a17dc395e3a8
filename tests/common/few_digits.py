"""A track on a hundred or two of the digits, for runs whose number matters and not what they learn."""

from pathlib import Path

from bench.records.record import Record
from bench.records.store import read_records

_TRACK = """
summary = "A few of the digits."
dataset = "digits"
network = "lenet5"
prunable = ["conv1", "conv2"]
ranked = false
floor = 0
tolerance = 0.1
threads = 1
latency_batch = 2
targets = [{targets}]

[validation]
images = {validation}

[dense]
epochs = 1
learning_rate = 0.02
batch_size = 32

[finetune]
learning_rate = 0.02
batch_size = 32

[budget]
dense_epochs = {budget}
"""


def few_digits(*targets: str, images: int = 400, budget: int = 2) -> str:
    """The track's TOML: so many training images of 1,397, the others for validation."""
    return _TRACK.format(targets=", ".join(f'"{each}"' for each in targets), validation=1397 - images, budget=budget)


def by_id(store: Path) -> dict[str, Record]:
    """The records of a store, all of which can be read."""
    records, unreadable = read_records(store)
    assert not unreadable
    return {record.run_id: record for record in records}

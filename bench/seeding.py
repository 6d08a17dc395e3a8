"""One seed fixes everything: seeds for named purposes, and global generators forked around calls."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["derive_seed", "generator", "isolated", "use_threads"]


def derive_seed(*purpose: object) -> int:
    """A seed in [0, 2**63) for a purpose: the same names give the same seed, other names an unrelated one."""
    text = "\0".join(str(part) for part in purpose)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*purpose: object) -> torch.Generator:
    """A CPU generator for a purpose."""
    return torch.Generator().manual_seed(derive_seed(*purpose))


@contextmanager
def isolated(*purpose: object) -> Iterator[None]:
    """Seeds the global generators (Python, NumPy, PyTorch and its devices) for a purpose, and puts them back after."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - plugins may use the global one
    seed = derive_seed(*purpose)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


@contextmanager
def use_threads(threads: int, device: str) -> Iterator[None]:
    """A run's own number of CPU threads, and deterministic kernels on the CPU; as before on leaving."""
    before, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(device == "cpu")
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(deterministic)

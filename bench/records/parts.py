"""Thousands of files, each looked at by itself: by several processes where that is worth it."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TypeVar

__all__ = ["in_parts"]

Item = TypeVar("Item")
Made = TypeVar("Made")
_PART = 100
_MANY = 500
_PROCESSES = 8


def in_parts(work: Callable[[Item], Made], items: Sequence[Item]) -> Iterator[list[Made]]:
    """What `work` makes of each item, in order, a part of them at a time.

    Args:
        work: a function of a module, or an instance of a class of one: it may be called in other processes.
        items: what is looked at; five hundred and more by as many processes as there are cores, up to eight.
    """
    parts = (items[begin : begin + _PART] for begin in range(0, len(items), _PART))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if len(items) < _MANY or cores == 1 or "fork" not in multiprocessing.get_all_start_methods():
        yield from map(partial(_each, work), parts)
        return
    with ProcessPoolExecutor(min(cores, _PROCESSES), multiprocessing.get_context("fork")) as pool:
        yield from pool.map(partial(_each, work), parts)


def _each(work: Callable[[Item], Made], part: Sequence[Item]) -> list[Made]:
    return [work(item) for item in part]

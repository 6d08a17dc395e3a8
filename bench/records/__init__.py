"""What runs leave behind: records, the store, rows for tables; and `bench.records(store)`, which reads them all.

A record is all that tables, pages and W&B are made from. Running and ranking are elsewhere.
The package is called like a function since that is its name in a notebook: `bench.records("runs").frame()`.
"""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, store: "str | Path" = "runs") -> Any:
        """All records of a store; see `bench.own.notebook.run.records`: found by its name, since it builds on this."""
        return import_module("bench.own.notebook.run").records(store)


sys.modules[__name__].__class__ = _Callable

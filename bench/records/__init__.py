"""What runs leave behind: records, the store, rows for tables; and `bench.records(store)`, which reads them all.

The package is called like a function since that is its name in a notebook: `bench.records("runs").frame()`.
"""

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.notebook.results import Records


class _Callable(ModuleType):
    def __call__(self, store: "str | Path" = "runs") -> "Records":
        """All records of a store; see `bench.notebook.run.records`."""
        from bench.notebook.run import records

        return records(store)


sys.modules[__name__].__class__ = _Callable

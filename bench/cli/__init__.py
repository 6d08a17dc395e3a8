"""The command line: what a user types becomes a request, and what comes back becomes a table. It holds no logic.

All other packages may be imported here; none imports this one. `from bench.cli import app` is the whole of it, for
scripts that call a command without a process of its own.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name not in ("app",):
        raise AttributeError(f"module 'bench.cli' has no attribute {name!r}")
    from bench.cli.main import app

    return app

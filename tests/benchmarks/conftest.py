"""Records for benchmarks: the factories of the leaderboard's tests."""

import importlib.util
from pathlib import Path

_PATH = Path(__file__).parent.parent / "leaderboard" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("leaderboard_records", _PATH)
assert _SPEC
assert _SPEC.loader
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)

synthetic_records = _MODULE.synthetic_records

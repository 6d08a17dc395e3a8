"""Found instead of the package where Python starts in the folder above a clone that is called `bench`.

Without this file `import bench` gives an empty namespace package there, whatever is installed. With it, it gives the
package of this clone, with `methods`, `datasets` and `leaderboard` where they belong. No other way leads here.
"""

import importlib.util as _util
import sys as _sys
from pathlib import Path as _Path

_root = _Path(__file__).resolve().parent
_spec = _util.spec_from_file_location(
    __name__, _root / "bench" / "__init__.py", submodule_search_locations=[str(_root / "bench"), str(_root)]
)
assert _spec is not None and _spec.loader is not None
_package = _util.module_from_spec(_spec)
_sys.modules[__name__] = _package
_spec.loader.exec_module(_package)

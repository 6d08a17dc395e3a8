"""`bench new method`: a plugin that works, and its test, to begin from.

In a checkout of bench both go where its plugins and tests are. Elsewhere they are a small package that can be
installed, whose entry point lets bench find the method.
"""

import keyword
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

import bench
from bench.errors import UsageError
from bench.records.store import write_text

__all__ = ["NewMethod", "new_method"]

Kind = Literal["structured", "unstructured"]
_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_LONGEST = 30
_WORDS = ("all", "methods", "tracks", "datasets", "networks", "claims")  # `--method all`, `bench list methods`
_RIVALS = {
    "structured": "l1,random,scratch,dense",
    "unstructured": "magnitude,random-weights,dense --target params=0.1",
}


@dataclass(frozen=True)
class NewMethod:
    """What was written.

    Attributes:
        paths: the files.
        commands: what to type next, in order.
    """

    paths: tuple[Path, ...]
    commands: tuple[str, ...]


def new_method(name: str, kind: str = "structured", folder: Path | None = None, here: Path | None = None) -> NewMethod:
    """Writes a method and its test.

    Args:
        name: what `--method` will call it: lower-case letters, digits, '-' and '_', a letter first.
        kind: `structured` or `unstructured`.
        folder: where to put a package of its own; None for the checkout of bench that `here` lies in, and where that
            is none, for the folder `bench-NAME` in `here`.
        here: the present folder; None for the process's own.

    Raises:
        UsageError: the name cannot be a method's or is taken, the kind is unknown, or a file is there already; nothing
            was written.
    """
    if kind not in _RIVALS:
        raise UsageError(f"unknown kind {kind!r}. Use structured (whole channels go) or unstructured (single weights).")
    _check_name(name)
    here = here or Path.cwd()
    checkout = None if folder else _checkout(here)
    stem = name.replace("-", "_")
    if checkout is not None:
        module, test = f"bench.methods.{stem}", checkout / "tests" / "methods" / f"test_{stem}.py"
        templates = {checkout / "methods" / f"{stem}.py": f"{kind}.py", test: f"test_{kind}.py"}
        install = []
    else:
        module, root = f"bench_{stem}", folder or here / f"bench-{name}"
        test = root / "tests" / f"test_{stem}.py"
        templates = {
            root / f"{module}.py": f"{kind}.py",
            test: f"test_{kind}.py",
            root / "pyproject.toml": "pyproject.toml",
        }
        install = [f"pip install -e {_shown(root, here)}"]
    if there := [str(path) for path in templates if path.exists()]:
        raise UsageError(f"{', '.join(there)} is there already. Give another name, or --dir DIR.")
    cls = "".join(part.capitalize() for part in re.split("[-_]", name))
    cls += "Method" if cls in bench.__all__ else ""
    values = {"name": name, "cls": cls, "module": module, "distribution": f"bench-{name}"}
    for path, template in templates.items():
        write_text(path, _rendered(template, values))
    commands = [
        *install,
        f"pytest -q -m 'not slow' {_shown(test, here)}",
        f"bench check {name}",
        f"bench run --method {name},{_RIVALS[kind]} --seed 0 --seed 1 --seed 2",
        "bench leaderboard --open",
    ]
    return NewMethod(tuple(templates), tuple(commands))


def _check_name(name: str) -> None:
    from bench.trial.methods import method_classes

    wrong = not _NAME.fullmatch(name) or len(name) > _LONGEST or name in _WORDS
    if wrong or keyword.iskeyword(name):
        raise UsageError(
            f"{name!r} cannot be a method's name. Use up to {_LONGEST} lower-case letters and digits with '-' or '_' "
            f"between them, a letter first; not a word of Python, nor {', '.join(_WORDS)}."
        )
    if name in method_classes():
        raise UsageError(f"a method called {name!r} is installed. `bench list methods` shows all; take another name.")


def _checkout(here: Path) -> Path | None:
    """The checkout of bench that `here` lies in.

    Raises:
        UsageError: it is not the one that runs, which would not see the method.
    """
    running = Path(bench.__file__).resolve().parent.parent
    for folder in (here.resolve(), *here.resolve().parents):
        if (folder / "bench" / "__init__.py").is_file() and (folder / "methods").is_dir():
            if folder != running:
                raise UsageError(
                    f"{folder} is a checkout of bench, but the bench that runs is in {running}. Install the checkout "
                    f"(pip install -e {folder}), or give --dir DIR for a package of its own."
                )
            return folder
    return None


def _rendered(template: str, values: dict[str, str]) -> str:
    import jinja2

    text = (files("bench.cli") / "templates" / f"{template}.jinja").read_text(encoding="utf-8")
    return jinja2.Template(text, undefined=jinja2.StrictUndefined, keep_trailing_newline=True).render(values)


def _shown(path: Path, here: Path) -> Path:
    return path.relative_to(here) if path.is_relative_to(here) else path

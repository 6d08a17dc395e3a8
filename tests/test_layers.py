"""The layers: no circle of packages, no long chain of imports, and which package may know which.

The graph is grimp's, of all imports: at the top of a module, inside functions, and for types alone.
"""

import json
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAPPED = ("methods", "datasets", "leaderboard")  # top-level folders that are packages below `bench`
LONGEST = 13
ENTRIES = 20

_GRIMP = """
import json
import grimp

graph = grimp.build_graph("bench", include_external_packages=False, exclude_type_checking_imports=False)
edges = {module: sorted(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
print(json.dumps({"edges": edges, "packages": [m for m in graph.modules if graph.find_children(m)]}))
"""

Graph = Mapping[str, set[str]]


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> tuple[Graph, frozenset[str]]:
    """What each module imports, and which of them are packages; from a copy with all packages in their places."""
    top = tmp_path_factory.mktemp("whole")
    ignore = shutil.ignore_patterns("__pycache__", "results", "*.safetensors")
    shutil.copytree(ROOT / "bench", top / "bench", ignore=ignore)
    for name in MAPPED:
        shutil.copytree(ROOT / name, top / "bench" / name, ignore=ignore)
    command = [sys.executable, "-c", _GRIMP]  # in a process of its own: here `bench` is imported from elsewhere
    done = subprocess.run(command, cwd=top, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return {module: set(imported) for module, imported in found["edges"].items()}, frozenset(found["packages"])


@pytest.fixture(scope="module")
def rooms(modules: tuple[Graph, frozenset[str]]) -> Graph:
    """What each package imports of the others; a module beside the packages, as `bench.errors`, is one of its own."""
    edges, packages = modules
    found: dict[str, set[str]] = defaultdict(set)
    for module, imported in edges.items():
        found[room(module, packages)] |= {room(each, packages) for each in imported}
    return {name: others - {name} for name, others in found.items()}


def room(module: str, packages: frozenset[str]) -> str:
    parent = module.rpartition(".")[0]
    return module if module in packages or parent == "bench" else parent


def circles(graph: Graph) -> Iterator[tuple[str, ...]]:
    """Sets of packages that import each other, over whatever way."""

    @cache
    def below(start: str) -> frozenset[str]:
        seen, queue = set(), [start]
        while queue:
            for each in graph.get(queue.pop(), set()) - seen:
                seen.add(each)
                queue.append(each)
        return frozenset(seen)

    told: set[str] = set()
    for name in sorted(graph):
        circle = {other for other in below(name) if name in below(other)}
        if circle and name not in told:
            told |= circle
            yield tuple(sorted(circle))


def longest_chain(graph: Graph) -> list[str]:
    """The most packages that import each other one after the other; of a graph without circles."""

    @cache
    def chain(name: str) -> tuple[str, ...]:
        return (name, *max((chain(each) for each in graph.get(name, ())), key=len, default=()))

    return list(max((chain(name) for name in graph), key=len))


def ways(modules: tuple[Graph, frozenset[str]], importer: str, imported: str) -> list[str]:
    """`a -> b` for the modules that make one package import another."""
    edges, packages = modules
    return [
        f"{module} -> {each}"
        for module in sorted(edges)
        for each in sorted(edges[module])
        if (room(module, packages), room(each, packages)) == (importer, imported)
    ]


def test_the_checks_themselves_on_graphs_drawn_by_hand() -> None:
    straight = {"a": {"b", "c"}, "b": {"c"}, "c": {"d"}, "d": set[str]()}
    assert longest_chain(straight) == ["a", "b", "c", "d"]
    assert list(circles(straight)) == []
    assert list(circles({**straight, "d": {"b"}, "e": {"e2"}, "e2": {"e"}})) == [("b", "c", "d"), ("e", "e2")]


def test_no_packages_import_each_other(modules: tuple[Graph, frozenset[str]], rooms: Graph) -> None:
    found = [
        "\n".join(way for one in circle for other in circle for way in ways(modules, one, other))
        for circle in circles(rooms)
    ]
    assert found == []


def test_chains_of_imports_are_short(rooms: Graph) -> None:
    chain = longest_chain(rooms)
    assert len(chain) <= LONGEST, " -> ".join(chain)


def test_the_top_of_bench_is_read_at_a_glance() -> None:
    entries = sorted(path.name for path in (ROOT / "bench").iterdir() if path.name != "__pycache__")
    assert len(entries) <= ENTRIES, entries


def test_methods_and_data_sets_take_public_names_only(modules: tuple[Graph, frozenset[str]]) -> None:
    """What `from bench import ...` gives, `bench.rl`, what is beside them; for data sets also what they are made of."""
    edges, _ = modules
    public = {"bench.methods": ("bench.rl",), "bench.datasets": ("bench.data", "bench.errors")}
    wrong = [
        f"{module} -> {each}"
        for package, rooms in public.items()
        for module in sorted(edges)
        if module.startswith(package)
        for each in sorted(edges[module])
        if each != "bench" and not each.startswith((f"{package}.", *rooms))
    ]
    assert wrong == []


def test_the_leaderboard_knows_records_and_what_lies_below_them(
    rooms: Graph, modules: tuple[Graph, frozenset[str]]
) -> None:
    """And what methods say of themselves (`bench.trial`), and where W&B is (`bench.tracking`). It runs nothing."""
    allowed = {"bench.records", "bench.specs", "bench.errors", "bench.plugins", "bench.trial", "bench.tracking"}
    wrong = [
        way
        for name in sorted(rooms)
        if name.startswith("bench.leaderboard")
        for other in sorted(rooms[name] - allowed)
        if not other.startswith("bench.leaderboard")
        for way in ways(modules, name, other)
    ]
    assert wrong == []


def test_the_harness_imports_no_plugin_and_only_what_a_user_sees_the_leaderboard(
    rooms: Graph, modules: tuple[Graph, frozenset[str]]
) -> None:
    """That is the command line, and a notebook's results, which show themselves as the page's tables."""
    fronts = ("bench.cli", "bench.own.notebook")
    plugins = tuple(f"bench.{name}" for name in MAPPED)
    wrong = [
        way
        for name in sorted(rooms)
        if not name.startswith(plugins)
        for other in sorted(rooms[name])
        if other.startswith(plugins) and not (name in fronts and other.startswith("bench.leaderboard"))
        for way in ways(modules, name, other)
    ]
    assert wrong == []


def test_nothing_imports_the_command_line_and_only_it_the_checks(rooms: Graph) -> None:
    assert [name for name, others in rooms.items() if "bench.cli" in others] == []
    checks = {name for name, others in rooms.items() if any(other.startswith("bench.checks") for other in others)}
    assert {name for name in checks if not name.startswith("bench.checks")} <= {"bench.cli"}

"""`.github/` and the scripts that it runs: against their schemas, least permissions, and commands that exist."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from bench.cli.main import app

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
SCRIPTS = sorted((ROOT / ".ci").iterdir())
# What may write, and why it must: publishing the page, and a comment with the gate's table.
WRITES = {
    ("pages", "publish"): {"pages": "write", "id-token": "write"},
    ("regression", "comment"): {"contents": "read", "pull-requests": "write"},
}


def load(path: Path) -> dict[Any, Any]:
    loaded = yaml.safe_load(path.read_text())
    assert isinstance(loaded, dict)
    return loaded


def jobs() -> list[Any]:
    return [
        pytest.param(path.stem, name, job, id=f"{path.stem}-{name}")
        for path in WORKFLOWS
        for name, job in load(path)["jobs"].items()
    ]


def commands(text: str) -> list[str]:
    """The lines of a shell text that call bench, from the command's name on, continued lines joined."""
    joined = text.replace("\\\n", " ")
    return re.findall(r"(?m)(?:^|[;(|]|\bmeasure|-m)\s*(?:\S*bin/)?bench(?:\.cli)? +([a-z]+ .*)$", joined)


def shell_texts() -> list[Any]:
    runs = [
        pytest.param(step["run"], id=f"{path.stem}-{name}-{place}")
        for path in WORKFLOWS
        for name, job in load(path)["jobs"].items()
        for place, step in enumerate(job["steps"])
        if "run" in step
    ]
    return runs + [pytest.param(path.read_text(), id=path.name) for path in SCRIPTS]


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", WORKFLOWS),
        ("github-issue-forms", FORMS),
        ("github-issue-config", [ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml"]),
    ],
)
def test_the_files_keep_to_githubs_schema(schema: str, files: list[Path]) -> None:
    words = ["check_jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, files)]
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_files_that_users_count_on_are_there() -> None:
    assert {path.stem for path in WORKFLOWS} == {"ci", "regression", "pages", "claims", "results"}
    assert {path.stem for path in FORMS} == {"new-method", "result", "bug"}
    assert (ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md").is_file()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_read_and_runs_once_at_a_time(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    assert "pull_request_target" not in path.read_text()  # it would hand a fork's code a token that may write


@pytest.mark.parametrize(("workflow", "name", "job"), jobs())
def test_a_job_ends_and_has_no_more_rights_than_it_needs(workflow: str, name: str, job: dict[str, Any]) -> None:
    assert job["timeout-minutes"] > 0
    assert job.get("permissions") == WRITES.get((workflow, name))
    for step in job["steps"]:
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|[0-9a-f]{40})", step["uses"])
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize(("workflow", "name", "job"), jobs())
def test_nothing_that_others_write_becomes_part_of_a_command(workflow: str, name: str, job: dict[str, Any]) -> None:
    for step in job["steps"]:
        assert "${{" not in step.get("run", ""), "pass it by env"
        for variable in step.get("env", {}) | job.get("env", {}):
            if variable in step.get("run", ""):
                assert f'"${variable}"' in step["run"]


@pytest.mark.parametrize("text", shell_texts())
def test_a_step_is_short_and_its_scripts_are_there(text: str) -> None:
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    for script in re.findall(r"bash (\.ci/\w+)", text):
        assert (ROOT / script).is_file()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_longer_logic_lies_in_scripts(path: Path) -> None:
    for job in load(path)["jobs"].values():
        assert all(step["run"].strip().count("\n") == 0 for step in job["steps"] if "run" in step)


@pytest.mark.parametrize("text", shell_texts())
def test_every_bench_command_is_one_that_bench_takes(text: str) -> None:
    """Parsed as bench parses it, not run."""
    bench: Any = typer.main.get_command(app)
    for line in commands(text):
        name, *words = shlex.split(re.split(r"[;|>&]", line)[0])
        words = [word for word in words if word != "${words[@]}"]  # a script's own list
        bench.commands[name].make_context(name, words)


def test_the_commands_are_found() -> None:
    found = [line.split()[0] for param in shell_texts() for line in commands(str(param.values[0]))]
    assert sorted(found) == ["check", "claims", "gate", "leaderboard", "run", "run", "run", "verify", "verify"]


def test_one_seed_of_every_row_that_was_added_is_drawn(tmp_path: Path) -> None:
    """Two rows of two and of one seed: one run each, and none of those that were there."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]

    def commit(*runs: str) -> None:
        for run in runs:
            folder = tmp_path / "leaderboard" / "results" / run
            folder.mkdir(parents=True)
            (folder / "record.json").write_text("{}")
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "--quiet", "-m", "records"], check=True)

    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    commit("l1-digits-macs0.5-s0-aaa")
    commit("l1-digits-macs0.5-s1-bbb", "l1-digits-macs0.5-s2-ccc", "id-rl-digits-auto-s0-ddd")
    drawn = set()
    for _ in range(20):
        said = subprocess.run(
            ["bash", ".ci/results", "HEAD~1"],
            cwd=tmp_path,
            env={**os.environ, "DRAW": "only"},
            capture_output=True,
            text=True,
            check=True,
        )
        runs = [Path(line).parent.name for line in said.stdout.splitlines()]
        assert len(runs) == 2
        assert "id-rl-digits-auto-s0-ddd" in runs
        drawn |= set(runs)
    assert drawn == {"l1-digits-macs0.5-s1-bbb", "l1-digits-macs0.5-s2-ccc", "id-rl-digits-auto-s0-ddd"}


def test_workflows_that_look_records_up_clone_the_whole_history() -> None:
    for name in ("ci", "pages", "claims", "results", "regression"):
        steps = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())["jobs"]
        checkouts = [
            step
            for job in steps.values()
            for step in job["steps"]
            if str(step.get("uses", "")).startswith("actions/checkout")
        ]
        assert checkouts[0]["with"]["fetch-depth"] == 0, name

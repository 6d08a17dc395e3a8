"""Pages of the site that are made from the code when it is built: the commands, and the public names.

A hook of MkDocs, named in mkdocs.yml. Nothing is written into the repository.
"""

from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages to those of the folder."""
    files.append(File.generated(config, "commands.md", content=commands_page()))
    files.append(File.generated(config, "api.md", content=api_page()))
    return files


def commands_page() -> str:
    """Every command with its arguments, options and help, as `bench COMMAND --help` has them."""
    import typer.main

    from bench.cli.main import app

    root = typer.main.get_command(app)
    parts = ["# Commands", "", "Generated from the commands' own help texts.", ""]
    return "\n".join([*parts, *_command(root, "bench", 2)])


def _command(command: Any, name: str, level: int) -> list[str]:
    """One command as Markdown, and the commands below it."""
    children = sorted(getattr(command, "commands", {}).items())
    lines: list[str] = []
    if not children:
        lines += [f"{'#' * level} `{name}`", "", _text(command.help or ""), ""]
        rows = []
        for parameter in command.params:
            if "--help" not in parameter.opts:
                argument = parameter.param_type_name == "argument"
                shown = (parameter.metavar or parameter.name.upper()) if argument else ", ".join(parameter.opts)
                rows.append(f"| `{shown}` | {_text(getattr(parameter, 'help', None) or '')} |")
        if rows:
            lines += ["| argument or option | is |", "|---|---|", *rows, ""]
    for word, child in children:
        lines += _command(child, f"{name} {word}", level)
    return lines


def _text(text: str) -> str:
    """One paragraph that shows as it is inside a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def api_page() -> str:
    """The public names of `bench`, each with its docstring."""
    import bench

    parts = ["# Python", "", "What a plugin, a script or a notebook needs: `from bench import ...`.", ""]
    for name in sorted(bench.__all__):
        parts += [f"::: {bench._HOME[name]}.{name}", ""]
    return "\n".join(parts)

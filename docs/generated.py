"""Pages of the site that are made from the code when it is built: the commands, and the public names.

A hook of MkDocs, named in mkdocs.yml. Nothing is written into the repository.
"""

import json
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the generated pages to those of the folder."""
    files.append(File.generated(config, "commands.md", content=commands_page()))
    files.append(File.generated(config, "api.md", content=api_page()))
    files.append(File.generated(config, "record.md", content=record_page()))
    files.append(File.generated(config, "record.schema.json", content=record_schema()))
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
        parts += [f"::: {bench._HOME.get(name, 'bench')}.{name}", ""]
    return "\n".join(parts)


def record_schema() -> str:
    """The JSON schema of a record, as this version writes it."""
    from bench.records.record import SCHEMA, Record

    about = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": f"schema {SCHEMA} of a record of bench",
    }
    return json.dumps(about | Record.model_json_schema(by_alias=True, mode="serialization"), indent=1)


def record_page() -> str:
    """What stands in a record, field by field."""
    schema = json.loads(record_schema())
    parts = [
        "# A record",
        "",
        "One run's result, `record.json`. The [JSON schema](record.schema.json) is made from the code that writes it.",
        "`top1` values are fractions, 0 to 1; units are in names.",
        "",
    ]
    for name, part in {"Record": schema, **schema.get("$defs", {})}.items():
        parts += [f"## {name}", "", _text((part.get("description") or "").split("\n")[0]), ""]
        rows = [f"| `{field}` | {_kind(about)} |" for field, about in part.get("properties", {}).items()]
        parts += ["| field | is |", "|---|---|", *rows, ""]
    return "\n".join(parts)


def _kind(about: dict[str, Any]) -> str:
    """The type of a field, in words."""
    if "$ref" in about:
        name = about["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in about:
        return " or ".join(_kind(each) for each in about["anyOf"])
    if "enum" in about:
        return ", ".join(f"`{value}`" for value in about["enum"])
    if about.get("type") == "array":
        return f"list of {_kind(about['items'])}" if isinstance(about.get("items"), dict) and about["items"] else "list"
    if about.get("type") == "object":
        return "by name"
    return {"null": "null", "number": "number", "integer": "integer", "string": "text", "boolean": "true or false"}.get(
        about.get("type", ""), f"`{about['const']}`" if "const" in about else "any JSON value"
    )

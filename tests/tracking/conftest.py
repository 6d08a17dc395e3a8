"""A server on loopback that answers as much of W&B's API as a run, `bench sync` and `bench report` ask for."""

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

import pytest

ENTITY = "somebody"
Fields = dict[str, Any]


@dataclass
class ServedRun:
    """One run, as the server has it.

    Attributes:
        name: the run's id.
        fields: what `upsertBucket` set last, by name.
        config, summary: merged.
        lines: by file stream (`wandb-history.jsonl`, ...), as parsed JSON.
        files: whole files that were uploaded.
        exits: exit codes, one each time that the run was ended.
        used, logged: artifacts, as (type, name, digest).
    """

    name: str
    fields: Fields = field(default_factory=dict)
    config: Fields = field(default_factory=dict)
    summary: Fields = field(default_factory=dict)
    lines: dict[str, dict[int, Fields]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    exits: list[int] = field(default_factory=list)
    used: set[tuple[str, str, str]] = field(default_factory=set)
    logged: set[tuple[str, str, str]] = field(default_factory=set)

    def history(self) -> list[Fields]:
        """Rows of the history, in their order."""
        rows = self.lines.get("wandb-history.jsonl", {})
        return [rows[place] for place in sorted(rows)]


@dataclass
class ServedArtifact:
    """One version: its manifest's entries by path, and the contents of the files that were uploaded."""

    id: str
    kind: str
    name: str
    digest: str
    metadata: Fields
    state: str = "PENDING"
    aliases: tuple[str, ...] = ()
    contents: dict[str, bytes] = field(default_factory=dict)


class WandbServer(ThreadingHTTPServer):
    """Keeps what it is sent. What it has no answer to is in `unknown`, and a test that sees one fails.

    Attributes:
        runs: by id.
        artifacts: by id.
        reports: views, by id.
        keys: the `Authorization` headers that were seen.
        unknown: operations without an answer.
        writes: how many requests changed something.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = Lock()
        self.runs: dict[str, ServedRun] = {}
        self.artifacts: dict[str, ServedArtifact] = {}
        self.reports: dict[str, Fields] = {}
        self.uploads: dict[str, Any] = {}
        self.keys: set[str] = set()
        self.unknown: list[str] = []
        self.writes = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def upload_to(self, put: Any) -> str:
        """An address; what is put there is handed to `put`."""
        path = f"/storage/{len(self.uploads)}"
        self.uploads[path] = put
        return self.url + path

    def answer(self, operation: str, query: str, values: Fields) -> Fields | None:
        """The data of a GraphQL answer; None where there is none."""
        handle = getattr(self, f"_on_{operation}", None)
        if handle is None:
            self.unknown.append(f"{operation}: {' '.join(query.split())[:3000]} {json.dumps(values)[:500]}")
            return None
        found: Fields = handle(values)
        return found

"""A server on loopback that answers as much of W&B's API as a run, `bench sync` and `bench report` ask for."""

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
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

    def served_config(self) -> str:
        """The settings, as W&B keeps them."""
        return json.dumps({key: {"value": value} for key, value in self.config.items()})

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
        try:
            found: Fields = handle(values)
        except Exception as error:
            self.unknown.append(f"{operation} of {json.dumps(values)[:800]}: {type(error).__name__}: {error}")
            return None
        return found

    # a run

    def _on_Viewer(self, _values: Fields) -> Fields:
        return {
            "viewer": {
                "id": "VXNlcjox",
                "entity": ENTITY,
                "username": ENTITY,
                "email": "somebody@example.org",
                "admin": False,
                "flags": "{}",
                "teams": {"edges": [{"node": {"name": ENTITY}}]},
                "apiKeys": {"edges": []},
            }
        }

    def _on_GetDefaultEntity(self, _values: Fields) -> Fields:
        return {"viewer": {"id": "VXNlcjox", "entity": ENTITY}}

    def _on_ServerFeaturesQuery(self, _values: Fields) -> Fields:
        return {"serverInfo": {"features": []}}

    def _on_RunResumeStatus(self, values: Fields) -> Fields:
        run = self.runs.get(values["name"])
        project = {"id": "p1", "name": values["project"], "entity": {"id": "e1", "name": ENTITY}}
        if run is None:
            return {"model": {**project, "bucket": None}}
        history, events = run.history(), run.lines.get("wandb-events.jsonl", {})
        bucket = {
            "id": f"b-{run.name}",
            "name": run.name,
            "summaryMetrics": json.dumps(run.summary),
            "displayName": run.fields.get("displayName"),
            "logLineCount": 0,
            "historyLineCount": len(history),
            "eventsLineCount": len(events),
            "historyTail": json.dumps([json.dumps(row) for row in history[-1:]]),
            "eventsTail": json.dumps([json.dumps(events[place]) for place in sorted(events)[-1:]]),
            "config": run.served_config(),
            "tags": run.fields.get("tags") or [],
            "notes": None,
            "wandbConfig": json.dumps({"t": 1}),
        }
        return {"model": {**project, "bucket": bucket}}

    def _on_UpsertBucket(self, values: Fields) -> Fields:
        self.writes += 1
        inserted = values["name"] not in self.runs
        run = self.runs.setdefault(values["name"], ServedRun(values["name"]))
        run.config |= {key: each["value"] for key, each in json.loads(values.get("config") or "{}").items()}
        run.summary |= json.loads(values.get("summaryMetrics") or "{}")
        run.fields |= {
            name: value for name, value in values.items() if value is not None and name not in ("config", "name")
        }
        project = {"id": "p1", "name": values["project"], "entity": {"id": "e1", "name": ENTITY}}
        bucket = {
            "id": f"b-{run.name}",
            "name": run.name,
            "displayName": run.fields.get("displayName"),
            "description": None,
            "config": run.served_config(),
            "sweepName": None,
            "project": project,
            "historyLineCount": len(run.history()),
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def file_stream(self, name: str, sent: Fields) -> Fields:
        """Takes lines of a run's streams, and its end."""
        run = self.runs[name]
        for file, chunk in sent.get("files", {}).items():
            for place, line in enumerate(chunk["content"], chunk["offset"]):
                if file == "wandb-summary.json":
                    run.summary = json.loads(line)
                else:
                    run.lines.setdefault(file, {})[place] = json.loads(line)
        if sent.get("complete"):
            run.exits.append(sent["exitcode"])
        self.writes += 1
        return {}

    def _on_CreateRunFiles(self, values: Fields) -> Fields:
        files = self.runs[values["run"]].files
        answers = [
            {"name": name, "uploadUrl": self.upload_to(lambda content, name=name: files.update({name: content}))}
            for name in values["files"]
        ]
        return {"createRunFiles": {"runID": f"b-{values['run']}", "uploadHeaders": [], "files": answers}}

    def _on_MarkRunFilesUploaded(self, _values: Fields) -> Fields:
        return {"markRunFilesUploaded": {"success": True}}

    def _on_NotifyScriptableRunAlert(self, values: Fields) -> Fields:
        self.runs[values["runName"]].fields["alert"] = (values["title"], values["text"], values["severity"])
        return {"notifyScriptableRunAlert": {"success": True}}

    # artifacts

    def _on_XXHashDigestsEnabled(self, _values: Fields) -> Fields:
        return {"entity": {"xxhashDigestsEnabled": False}}

    def _on_FetchArtifactDigestAlgorithm(self, _values: Fields) -> Fields:
        return {"project": {"artifactType": None}}

    def _on_CreateArtifact(self, values: Fields) -> Fields:
        self.writes += 1
        given = values["input"]
        kind, name, digest = given["artifactTypeName"], given["artifactCollectionName"], given["digest"]
        key = kind, name, digest
        same = [a for a in self.artifacts.values() if a.state == "COMMITTED" and (a.kind, a.name, a.digest) == key]
        about = json.loads(given.get("metadata") or "{}")
        made = same[0] if same else ServedArtifact(f"a{len(self.artifacts)}", kind, name, digest, about)
        made.aliases = tuple(each["alias"] for each in given.get("aliases") or ())
        self.artifacts[made.id] = made
        if given.get("runName") is not None:  # one that a run only uses belongs to no run
            self.runs[given["runName"]].logged.add((kind, name, digest))
        sequence = {"id": f"s-{name}", "latestArtifact": {"id": same[0].id, "versionIndex": 0} if same else None}
        return {"createArtifact": {"artifact": {"id": made.id, "state": made.state, "artifactSequence": sequence}}}

    def _on_CreateArtifactManifest(self, values: Fields) -> Fields:
        return {"createArtifactManifest": {"artifactManifest": self._manifest(values)}}

    def _on_UpdateArtifactManifest(self, values: Fields) -> Fields:
        return {"updateArtifactManifest": {"artifactManifest": self._manifest(values)}}

    def _manifest(self, values: Fields) -> Fields:
        return {
            "id": "m1",
            "file": {"id": "f1", "uploadUrl": self.upload_to(lambda _content: None), "uploadHeaders": []},
        }

    def _on_CreateArtifactFiles(self, values: Fields) -> Fields:
        nodes = []
        for each in values["input"]["artifactFiles"]:
            artifact = self.artifacts[each["artifactID"]]

            def put(content: bytes, artifact: ServedArtifact = artifact, each: Fields = each) -> None:
                assert base64.b64encode(hashlib.md5(content).digest()).decode() == each["md5"]
                artifact.contents[each["name"]] = content

            nodes.append(
                {
                    "node": {
                        "storagePath": f"storage/{each['name']}",
                        "uploadUrl": self.upload_to(put),
                        "uploadHeaders": [],
                        "uploadMultipartUrls": None,
                        "artifact": {"id": artifact.id},
                    }
                }
            )
        return {"createArtifactFiles": {"files": {"edges": nodes}}}

    def _on_CommitArtifact(self, values: Fields) -> Fields:
        artifact = self.artifacts[values["artifactID"]]
        artifact.state = "COMMITTED"
        return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": artifact.digest}}}

    def _on_ArtifactType(self, values: Fields) -> Fields:
        name = values["name"].partition(":")[0]
        kinds = [artifact.kind for artifact in self.artifacts.values() if artifact.name == name]
        return {"project": {"artifact": {"artifactType": {"name": kinds[-1]}} if kinds else None}}

    def _on_ArtifactByID(self, values: Fields) -> Fields:
        artifact = self.artifacts[values["id"]]
        project = {
            "__typename": "Project",
            "id": "UHJvamVjdDox",
            "internalId": "UHJvamVjdEludGVybmFsSWQ6MQ==",
            "name": "bench",
            "entity": {"__typename": "Entity", "id": "e1", "name": ENTITY},
        }
        sequence = {"__typename": "ArtifactSequence", "name": artifact.name, "project": project}
        return {
            "artifact": {
                "__typename": "Artifact",
                "id": artifact.id,
                "artifactSequence": sequence,
                "versionIndex": 0,
                "artifactType": {"name": artifact.kind},
                "description": None,
                "metadata": json.dumps(artifact.metadata),
                "ttlDurationSeconds": -2,
                "ttlIsInherited": True,
                "tags": [],
                "historyStep": None,
                "state": artifact.state,
                "size": sum(map(len, artifact.contents.values())),
                "digest": artifact.digest,
                "commitHash": artifact.digest,
                "fileCount": len(artifact.contents),
                "createdAt": "2026-01-01T00:00:00",
                "updatedAt": None,
                "aliases": [],
            }
        }

    def _on_UseArtifact(self, values: Fields) -> Fields:
        given = values["input"]
        artifact = self.artifacts[given["artifactID"]]
        self.runs[given["runName"]].used.add((artifact.kind, artifact.name, artifact.digest))
        return {"useArtifact": {"artifact": {"id": artifact.id}}}

    # reports

    def _on_GetProjects(self, _values: Fields) -> Fields:
        names = sorted({str(run.fields["project"]) for run in self.runs.values()})
        nodes = [
            {
                "__typename": "Project",
                "id": f"p-{name}",
                "name": name,
                "entityName": ENTITY,
                "createdAt": "2026-01-01T00:00:00",
                "isBenchmark": False,
                "user": None,
            }
            for name in names
        ]
        page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
        return {"models": {"pageInfo": page, "edges": [{"node": node} for node in nodes]}}

    def _on_ProjectViews(self, _values: Fields) -> Fields:
        user = {"username": ENTITY, "photoUrl": None, "email": "somebody@example.org"}
        dates = {"createdAt": "2026-01-01T00:00:00", "updatedAt": "2026-01-01T00:00:00"}
        views = [{"node": {**view, "user": user, **dates}, "cursor": key} for key, view in self.reports.items()]
        return {"project": {"allViews": {"edges": views, "pageInfo": {"endCursor": None, "hasNextPage": False}}}}

    def _on_upsertView(self, values: Fields) -> Fields:
        self.writes += 1
        key = values.get("id") or f"report{len(self.reports)}"
        names = ("name", "displayName", "description", "spec")
        view = {"id": key, **{name: values[name] for name in names}}
        self.reports[key] = view
        project = {"id": "p1", "name": values["projectName"], "entityName": values["entityName"]}
        more = {"type": values["type"], "project": project, "updatedAt": "2026-01-01T00:00:00"}
        return {"upsertView": {"view": {**view, **more}, "inserted": not values.get("id")}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WandbServer

    def do_POST(self) -> None:
        sent = json.loads(self._content())
        with self.server.lock:
            self.server.keys.add(self.headers.get("Authorization", ""))
            if self.path.endswith("/file_stream"):
                self._answer(self.server.file_stream(self.path.split("/")[-2], sent))
                return
            query = sent["query"]
            operation = sent.get("operationName") or query.split("(")[0].split("{")[0].split()[-1]
            found = self.server.answer(operation, query, sent.get("variables") or {})
        if found is None:
            self._answer({"errors": [{"message": f"no answer to {operation}"}]}, 400)
        else:
            self._answer({"data": found})

    def do_PUT(self) -> None:
        content = self._content()
        with self.server.lock:
            self.server.uploads[self.path](content)
        self._answer({})

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.unknown.append(f"GET {self.path}")
        self._answer({}, 404)

    def _content(self) -> bytes:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(content) if self.headers.get("Content-Encoding") == "gzip" else content

    def _answer(self, values: Fields, code: int = 200) -> None:
        content = json.dumps(values).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def handle(self) -> None:
        """A client that goes away is no error."""
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, *_words: object) -> None:
        """Nothing on standard error."""


@pytest.fixture
def wandb_server() -> Iterator[WandbServer]:
    """The server, up."""
    server = WandbServer()
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()

"""The leaderboard as one static folder that opens from disk: an index and a page a track, from records alone.

Everything a page loads lies beside it, plotly's script included (once). Text from records is escaped by
jinja2, and inside plots by `bench.leaderboard.plot`.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

import jinja2

from bench.claims import claim_names, load_claim
from bench.leaderboard.board import TrackSummary
from bench.leaderboard.cells import columns, heading
from bench.leaderboard.plot import colours, plot_json
from bench.leaderboard.ranking_cells import sheets
from bench.leaderboard.summary import summarise
from bench.leaderboard.verdict_cells import COLUMNS
from bench.leaderboard.verdicts import Verdict, verdicts
from bench.record import Record
from bench.store import Unreadable, write_atomically

__all__ = ["write_leaderboard"]

_GENERATOR = '<meta name="generator" content="bench leaderboard">'
_STATIC = ("style.css", "plots.js")


def write_leaderboard(records: Iterable[Record], unreadable: Iterable[Unreadable], out: Path) -> Path:
    """Writes the leaderboard and removes pages of tracks that are gone; other files in `out` stay.

    Args:
        records: all that is to be shown; a record that is there twice counts once.
        unreadable: files that could not be read as records, listed with the reason.
        out: the folder, made if need be.

    Returns:
        The path of `index.html`.

    Raises:
        StoreError: `out` cannot be written.
    """
    records = list(records)
    claims = [load_claim(name) for name in claim_names()]
    claimed = {claim.track.name for claim in claims}
    found = verdicts(claims, records)
    board = summarise((record for record in records if record.track not in claimed), unreadable)
    names = {track.name: _page_name(track.name) for track in board.tracks}
    templates = _templates()
    for track in board.tracks:
        _write(out / names[track.name], templates.get_template("track.html").render(_track_page(track, found)))
    links = {name: quote(page) for name, page in names.items()}
    for name in _STATIC:
        _write(out / name, _template_text(name))
    if board.tracks:
        from plotly.offline import get_plotlyjs

        _write(out / "plotly.min.js", get_plotlyjs())
    index = out / "index.html"
    _write(out / "claims.html", templates.get_template("claims.html").render(_claims_page(found)))
    counts = Counter(verdict.word for verdict in found)
    words = {"board": board, "links": links, "counts": counts, "generator": _GENERATOR}
    _write(index, templates.get_template("index.html").render(words))
    for page in out.glob("track-*.html"):
        if page.name not in names.values() and _is_ours(page):
            page.unlink(missing_ok=True)
    return index


def _claims_page(found: Sequence[Verdict]) -> dict[str, object]:
    """What the template of the claims' page needs: verdicts claim by claim."""
    by_claim: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in found:
        by_claim[verdict.claim.name].append(verdict)
    return {"claims": list(by_claim.values()), "verdict_columns": COLUMNS, "generator": _GENERATOR}


def _track_page(track: TrackSummary, found: Sequence[Verdict]) -> dict[str, object]:
    """What the template of a track's page needs."""
    colour = colours(track.methods)
    return {
        "track": track,
        "verdicts": [verdict for verdict in found if verdict.claim.base == track.name],
        "verdict_columns": COLUMNS,
        "generator": _GENERATOR,
        "sections": [
            {
                "id": f"table-{number}",
                "heading": heading(table),
                "table": table,
                "columns": columns(table, track.ranked),
                "plot": plot_json(table, colour),
                "ranking": sheets(table),
            }
            for number, table in enumerate(track.tables, start=1)
        ],
    }


def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_template_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _template_text(name: str) -> str:
    return (files("bench.leaderboard") / "templates" / name).read_text(encoding="utf-8")


def _page_name(track: str) -> str:
    """A file name that every system takes, one a track."""
    safe = re.sub(r"[^a-z0-9._-]", "-", track)[:100]
    suffix = "" if safe == track else f"-{hashlib.sha256(track.encode()).hexdigest()[:8]}"
    return f"track-{safe}{suffix}.html"


def _is_ours(page: Path) -> bool:
    with page.open(encoding="utf-8", errors="replace") as file:
        return _GENERATOR in file.read(2000)


def _write(path: Path, text: str) -> None:
    write_atomically(path, lambda temporary: _write_text(temporary, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")

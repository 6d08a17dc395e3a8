"""Fills docs/findings.md from the committed records: `python docs/findings.py`; with `--check`, says what is stale.

A block stands between `<!-- KIND ARGUMENTS -->` and `<!-- end -->`; what is between them is made from the records.

- `sentences TRACK`: what the track's records say, as at the top of its page.
- `table TRACK TARGET`: the rows, as `bench table --format markdown` has them.
- `take TRACK`: at each target the rows that nothing beats, and the cheapest of them.
- `claims NAME...`: verdicts.
- `cost TRACK...`: runs and device hours.
"""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bench.leaderboard.board.board import Row, TrackSummary
from bench.leaderboard.board.comparison import Finding
from bench.leaderboard.board.summary import summarise
from bench.leaderboard.pages.sentences import leads
from bench.leaderboard.tables.flat import chosen, fingerprint, flat_tables
from bench.leaderboard.tables.write import written
from bench.leaderboard.verdicts.verdicts import verdicts
from bench.records.lookup import committed_results
from bench.records.record import Record
from bench.records.store import read_records
from bench.specs.claim import load_claim

PAGE = Path(__file__).with_name("findings.md")
_BLOCK = re.compile(
    r"(<!-- (?P<kind>sentences|table|take|claims|cost) (?P<words>[^>]*?) -->\n).*?(<!-- end -->)", re.DOTALL
)


def filled(text: str, records: Sequence[Record]) -> str:
    """The page with every block made anew.

    Raises:
        UsageError: a block names a target without a record, or no claim.
    """
    tracks = {track.name: track for track in summarise(records).tracks}

    def block(found: re.Match[str]) -> str:
        words = found["words"].split()
        if found["kind"] in ("sentences", "table", "take") and words[0] not in tracks:
            return f"{found[1]}\nNo record yet: `bench run --track {words[0]} --method all --data DIR`.\n\n{found[4]}"
        made = "\n".join(_KINDS[found["kind"]](words, tracks, records))
        return f"{found[1]}\n{made.strip()}\n\n{found[4]}"

    return _BLOCK.sub(block, text)


def _sentences(words: Sequence[str], tracks: dict[str, TrackSummary], _records: Sequence[Record]) -> Iterable[str]:
    (name,) = words
    for table, lead in zip(tracks[name].tables, leads(tracks[name]), strict=True):
        yield f"*{table.kind}*: {' '.join(lead.sentences)}\n"


def _table(words: Sequence[str], _tracks: dict[str, TrackSummary], records: Sequence[Record]) -> Iterable[str]:
    name, *targets = words
    wanted = chosen(records, [name], targets)
    command = f"bench table --track {name} {' '.join(f'--target {target}' for target in targets)} --format markdown"
    yield written(flat_tables(wanted, "row"), "markdown", command, fingerprint(wanted))


def _take(words: Sequence[str], tracks: dict[str, TrackSummary], _records: Sequence[Record]) -> Iterable[str]:
    (name,) = words
    yield "| target | nothing is better than | cheapest of these | top-1 (%) | device seconds | better than random |"
    yield "|---|---|---|---:|---:|---|"
    for table in tracks[name].tables:
        for ranking in table.ranking.targets:
            finding = ranking.finding
            best = [row for row in table.at(finding.target) if row.label in finding.best]
            if best:
                yield _advice(finding, best)


def _advice(finding: Finding, best: Sequence[Row]) -> str:
    cheapest = min(best, key=lambda row: row.device_seconds)
    beaten = [control for control, better, _ in finding.controls if "random" in control and cheapest.label in better]
    cells = [
        finding.target,
        ", ".join(row.label for row in best),
        cheapest.label,
        f"{100 * cheapest.top1_test.mean:.2f}",
        f"{cheapest.device_seconds:.0f}",
        ", ".join(beaten) or "not shown",
    ]
    return f"| {' | '.join(cells)} |"


def _claims(words: Sequence[str], _tracks: dict[str, TrackSummary], records: Sequence[Record]) -> Iterable[str]:
    yield "| claim | number | target | verdict | why |"
    yield "|---|---|---|---|---|"
    for found in verdicts([load_claim(name) for name in words], records):
        number = found.number
        rival = f" over {number.rival}" if number.rival else ""
        said = f"{number.measure}{rival} {number.claimed:g} {number.unit}"
        yield f"| {found.claim.name} | {said} | {number.target} | {found.word} | {found.why} |"


def _cost(words: Sequence[str], _tracks: dict[str, TrackSummary], records: Sequence[Record]) -> Iterable[str]:
    yield "| track | runs | device hours |"
    yield "|---|---:|---:|"
    for name in words:
        runs = [record for record in records if record.track == name]
        hours = sum(record.ledger["total"].device_seconds for record in runs if "total" in record.ledger) / 3600
        yield f"| {name} | {len(runs)} | {hours:.1f} |"


_KINDS: dict[str, Callable[[Sequence[str], dict[str, TrackSummary], Sequence[Record]], Iterable[str]]] = {
    "sentences": _sentences,
    "table": _table,
    "take": _take,
    "claims": _claims,
    "cost": _cost,
}


def main(check: bool) -> int:
    """Writes the page, or says whether it is what the records say."""
    text = PAGE.read_text(encoding="utf-8")
    now = filled(text, read_records(committed_results())[0])
    if check:
        return int(now != text)
    PAGE.write_text(now, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))

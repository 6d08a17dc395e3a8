"""The ranking on a track's page."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.leaderboard.pages.site import write_leaderboard
from bench.records.record import Record

MakeRecord = Callable[..., Record]
EVIL = "<script>alert(1)</script>"


def page_of(records: list[Record], folder: Path) -> str:
    write_leaderboard(records, [], folder)
    return (folder / "track-digits.html").read_text()


def test_ranks_comparisons_and_the_summary_are_shown(make_record: MakeRecord, tmp_path: Path) -> None:
    records = [
        make_record(method=method, target=target, seed=seed, macs=macs, top1=top1 + 0.002 * (seed % 2))
        for target, macs in (("macs=0.5", 500_000), ("macs=0.25", 250_000))
        for method, top1 in (("a", 0.92), ("b", 0.90))
        for seed in range(5)
    ]
    page = page_of(records, tmp_path)
    assert page.index("Across targets (macs=0.5, macs=0.25)") < page.index('<th scope="rowgroup"')
    assert "macs=0.5: 1 pair of rows compared" in page
    assert ">better on these images</td>" in page
    assert ">2</td>" in page
    lead = page[page.index('<p class="lead">') :].partition("</p>")[0]
    assert "At macs=0.5: a is better than b, on these test images" in lead
    assert "random pruning was not run beside them" in lead.lower()
    assert page.index('<p class="lead">') < page.index("<h2")
    assert page.count("What the columns of these comparisons mean") == 1


def test_text_from_records_stays_text_in_the_ranking(
    make_record: MakeRecord, with_bits: Callable[[Record, np.ndarray], Record], tmp_path: Path
) -> None:
    records = [
        with_bits(
            make_record(
                run_id=f"{number}-{seed}",
                method="random-search" if number else "id-rl",
                config={"agent": "uniform" if number else EVIL, EVIL: f"{EVIL}{number}"},
                seed=seed,
                track_fields={"targets": [EVIL], "network": f"{EVIL}{number // 2}"},
                manifest={"dense_sha256": EVIL, "data_fingerprint": EVIL, "device_class": EVIL},
            ),
            np.arange(100) < 90 - number,
        )
        for number in range(4)
        for seed in range(5)
    ]
    page = page_of(records, tmp_path)
    assert "What an agent adds" in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_floor_takes_the_place_of_ranks(
    make_record: MakeRecord, with_bits: Callable[[Record, np.ndarray], Record], tmp_path: Path
) -> None:
    fields = {"ranked": False}
    records = [
        with_bits(make_record(method=method, seed=seed, track_fields=fields), np.arange(100) < right)
        for method, right in (("a", 90), ("b", 70))
        for seed in range(5)
    ]
    page = page_of(records, tmp_path)
    assert "What this track can tell apart" in page
    assert ">better</td>" not in page
    assert ">rank</th>" not in page

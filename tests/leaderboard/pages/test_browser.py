"""The pages in headless Chromium, from disk, as a reader meets them.

Skipped where there is no Chromium (`apt-get install chromium`; `.ci/run` tries) or no playwright.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.leaderboard.pages.site import write_leaderboard
from bench.records.record import Record

MakeRecord = Callable[..., Record]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
EVIL = "</script><script>window.hacked=1</script>\"'><img src=x onerror=window.hacked=1><b>bold</b>"
ACCURACY = {"l1": 0.82, "hbfp": 0.85, "random": 0.80}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install -e '.[dev]'")
    with playwright.sync_playwright() as running:
        # --no-sandbox: chromium refuses to run as root with it, as in a container; it only sees our own pages
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(
    make_record: MakeRecord, full_fields: Callable[[str], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Three methods at two targets, a run that failed, and one that says bad things."""
    fields = full_fields("plain") | {"track_fields": {"summary": "Digits.", "network": "lenet5", "dataset": "digits"}}
    records = [
        make_record(
            run_id=f"{method}-{target[5:]}-s{seed}",
            method=method,
            target=target,
            seed=seed,
            top1=top1 + 0.001 * seed - (0.1 if target == "macs=0.25" else 0),
            macs=int(1e6 * float(target[5:])),
            **fields,
        )
        for method, top1 in ACCURACY.items()
        for target in ("macs=0.5", "macs=0.25")
        for seed in range(3)
    ]
    records.append(make_record(run_id="broken", status="failed", error="ValueError: <b>no</b>", **fields))
    records.append(make_record(run_id="hostile", track="other", **full_fields(EVIL)))
    out = tmp_path_factory.mktemp("pages")
    write_leaderboard(records, [], out)
    return out


@pytest.fixture
def visit(browser: Any, pages: Path) -> Iterator[Callable[..., Any]]:
    """`visit(name, width=, dark=)`: a page from disk; the test fails if it says anything on the console."""
    said: list[str] = []
    contexts = []

    def failed(request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # the reader went on before all was loaded
            said.append(f"{request.url}: {request.failure}")

    def go(name: str, width: int = 1200, dark: bool = False) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", offline=True
        )
        contexts.append(context)
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.on("console", lambda message: said.append(f"{name}: {message.text}"))
        page.on("pageerror", lambda error: said.append(f"{name}: {error}"))
        page.on("requestfailed", failed)
        page.goto((pages / name).as_uri())
        return page

    yield go
    for context in contexts:
        context.close()
    assert said == []


def draw_all(page: Any) -> None:
    """Brings each plot into sight and waits until it is drawn."""
    for plot in page.locator(".plot").all():
        if plot.is_visible():
            plot.scroll_into_view_if_needed()
            plot.locator("svg.main-svg").first.wait_for()


def results(page: Any) -> Any:
    """The table of results with its filters."""
    return page.locator(".table").filter(has=page.get_by_role("region", name="Results"))


def methods(table: Any) -> list[str]:
    """The first column of the rows that are shown, from the top."""
    shown: list[str] = table.locator("tbody tr:not(.group) > th").evaluate_all(
        "cells => cells.filter((each) => each.checkVisibility()).map((each) => each.querySelector('a').textContent)"
    )
    return shown


def test_every_page_opens_without_a_word_on_the_console(visit: Callable[..., Any], pages: Path) -> None:
    page = visit("index.html")
    for name in ("claims.html", "track-digits.html", "method-dense.html", "run-broken.html"):
        page.goto((pages / name).as_uri())
        assert page.locator("h1").count() == 1
        assert page.evaluate("window.hacked") is None


def test_a_hostile_record_shows_its_text(visit: Callable[..., Any]) -> None:
    for name in ("run-hostile.html", "track-other.html"):
        page = visit(name)
        draw_all(page)
        assert page.evaluate("window.hacked") is None
        assert "<b>bold</b>" in page.locator("main").inner_text()
        assert page.locator("main img").count() == 0
    assert "<b>bold</b>" in " ".join(visit("run-hostile.html").locator("pre").all_inner_texts())


def test_plots_are_drawn(visit: Callable[..., Any]) -> None:
    page = visit("track-digits.html")
    draw_all(page)
    plots = page.locator("#table-1 ~ figure .plot, #table-1 ~ details .plot")
    # ranks and pairs at two targets, accuracy, speed-up, cost by phase in both units, rewards at two targets
    assert plots.count() == 10
    assert plots.nth(0).locator(".barlayer .point").count() == 3
    assert plots.nth(1).locator(".heatmaplayer image").count() == 1
    assert plots.nth(4).locator(".scatterlayer .trace").count() == 1 + len(ACCURACY)
    assert plots.nth(4).locator(".errorbars path").count() > 0
    assert plots.nth(5).locator(".scatterlayer .point").count() == 12
    assert plots.nth(6).locator(".barlayer .trace").count() == 4
    run = visit("run-l1-0.5-s0.html")
    draw_all(run)
    assert run.locator(".plot").count() == 2
    assert run.locator(".scatterlayer .trace").count() >= 4


def test_a_table_sorts_by_mouse_and_keyboard_and_goes_back_to_its_groups(visit: Callable[..., Any]) -> None:
    page = visit("track-digits.html")
    table = results(page)
    grouped = methods(table)
    assert grouped == ["hbfp", "l1", "random"] * 2
    head = table.locator("thead th", has_text="top-1")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert methods(table) == ["hbfp", "l1", "random"] * 2
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert methods(table) == ["random", "l1", "hbfp"] * 2
    assert table.locator("tr.group").first.is_hidden()
    assert table.locator("td.by-group").first.inner_text() == "macs=0.25"
    assert table.get_by_role("status").inner_text() == "Rows sorted by top-1, ascending."
    head.locator("button").press("Space")
    assert head.get_attribute("aria-sort") is None
    assert methods(table) == grouped
    assert table.locator("tr.group").first.is_visible()


def test_a_table_filters_and_says_how_many_rows_are_left(visit: Callable[..., Any]) -> None:
    page = visit("track-digits.html")
    table = results(page)
    status = table.get_by_role("status")
    table.get_by_label("method").fill("L1")
    assert methods(table) == ["l1", "l1"]
    assert status.inner_text() == "2 of 6 rows shown."
    table.get_by_label("target").select_option("macs=0.25")
    assert methods(table) == ["l1"]
    assert status.inner_text() == "1 of 6 rows shown."
    assert table.locator("tr.group").first.is_hidden()
    table.get_by_label("method").fill("nobody")
    assert status.inner_text() == "0 of 6 rows shown."
    table.get_by_label("method").fill("")
    table.get_by_label("target").select_option("any")
    assert len(methods(table)) == 6


def test_pages_lead_to_each_other(visit: Callable[..., Any]) -> None:
    page = visit("index.html")
    page.get_by_role("link", name="digits", exact=True).first.click()
    page.locator("main").get_by_role("link", name="l1").first.click()
    assert page.locator("h1").inner_text() == "l1"
    assert "l1 norm" in page.locator("main").inner_text()
    page.get_by_role("link", name="l1-0.5-s1").click()
    assert page.locator("h1").inner_text() == "l1 at macs=0.5, seed 1"
    page.get_by_role("navigation").get_by_role("link", name="digits").click()
    page.get_by_role("link", name="broken").click()
    assert "ValueError: <b>no</b>" in page.locator("pre.long").inner_text()
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.locator(":focus").get_attribute("id") == "content"
    page.get_by_role("navigation").get_by_role("link", name="Leaderboard").click()
    assert page.url.endswith("index.html")


def test_a_command_is_copied_or_at_least_selected(visit: Callable[..., Any]) -> None:
    page = visit("run-l1-0.5-s0.html")
    page.locator(".copy").click()
    page.locator(".copy", has_text="Copied").or_(page.locator(".copy", has_text="Selected")).wait_for()
    page.evaluate(
        "navigator.clipboard.writeText = () => Promise.reject(new Error('no')); document.execCommand = () => false"
    )
    page.locator(".copy", has_text="Copy").wait_for()
    page.wait_for_function("document.querySelector('.copy').textContent === 'Copy'")
    page.locator(".copy").click()
    page.locator(".copy", has_text="Selected").wait_for()
    assert page.evaluate("getSelection().toString()").strip() == "bench run plain"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_from_its_ground(visit: Callable[..., Any], dark: bool) -> None:
    page = visit("track-digits.html", dark=dark)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") is not dark
    worst = page.evaluate(CONTRAST)
    assert worst["ratio"] >= 4.5, worst
    draw_all(page)
    label = page.locator(".plot .xtick text").first.evaluate("each => getComputedStyle(each).fill")
    assert label == page.evaluate("getComputedStyle(document.body).color")


@pytest.mark.parametrize(
    "name", ["index.html", "claims.html", "track-digits.html", "method-l1.html", "run-l1-0.5-s0.html"]
)
def test_a_phone_scrolls_tables_not_the_page(visit: Callable[..., Any], name: str) -> None:
    page = visit(name, width=360)
    draw_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


# The smallest contrast (WCAG 2) of a text with the ground behind it, which is painted, transparent or not.
CONTRAST = """() => {
  const canvas = Object.assign(document.createElement('canvas'), {width: 1, height: 1});
  const paint = canvas.getContext('2d', {willReadFrequently: true});
  const pixel = (colours) => {
    paint.clearRect(0, 0, 1, 1);
    for (const each of colours) { paint.fillStyle = each; paint.fillRect(0, 0, 1, 1); }
    return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => rgb.map((c) => c / 255).map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  let worst = {ratio: 99};
  for (const element of document.querySelectorAll('main *, header *, footer *')) {
    if (element.closest('.plot, script, .visually-hidden, caption') || !element.checkVisibility()) continue;
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    const grounds = [];
    for (let each = element; each; each = each.parentElement) grounds.unshift(getComputedStyle(each).backgroundColor);
    const text = getComputedStyle(element).color;
    const [a, b] = [light(pixel([...grounds, text])), light(pixel(grounds))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < worst.ratio) worst = {ratio, said: element.textContent.slice(0, 40), grounds, text};
  }
  return worst;
}"""

"""What the page costs in a browser: a sort of many rows, a pointer over many curves, and a point from `log()` to its pixel."""

from __future__ import annotations

import random
import shutil
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import Figure, absent, plain
from benchmarks.many import experiments
from benchmarks.measuring import folder, quantile
from benchmarks.ui import served, write
from mlv import Exp
from mlv.web.built import STATIC

_ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
_MOVES = 200
_LOST_MS = 10_000.0
"""Stands for a point that never came."""
_SORTED = """async (button) => {
    const first = () => document.querySelector('.rows .row').textContent;
    const frame = () => new Promise(requestAnimationFrame);
    const before = first(), begin = performance.now();
    button.click();
    while (first() === before) await frame();
    await frame();  // the next one begins when this one is painted
    return performance.now() - begin;
}"""
_WATCH = """() => {
    window.changes = [];
    let last = 0;
    const look = () => {
        const canvas = document.querySelector('.chart canvas');
        const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        let sum = 0;
        for (let at = 0; at < pixels.length; at += 4) sum = (31 * sum + pixels[at]) | 0;
        if (sum !== last) window.changes.push(Date.now());
        last = sum;
        requestAnimationFrame(look);
    };
    look();
}"""


def browsing(quick: bool) -> list[Figure]:
    """The page in Debian's chromium, driven by Playwright."""
    chromium = shutil.which("chromium")
    if chromium is None or find_spec("playwright") is None or not (STATIC / "page.js").exists():
        return [absent("mlv ui in a browser: needs chromium, playwright and the built page")]
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        try:
            return [*_sorting(browser, quick), *_pointing(browser, quick), *_painting(browser, quick)]
        finally:
            browser.close()


def _sorting(browser: Any, quick: bool) -> list[Figure]:
    count = 300 if quick else 10_000
    with folder() as place, _page(browser, experiments(place / "runs", count), place) as page:
        text = "document.querySelector('.counts').textContent.replaceAll(',', '')"
        page.wait_for_function(f"{text}.includes('{count}')", timeout=120_000)
        header = page.get_by_role("columnheader", name="lr").get_by_role("button")
        times = [header.evaluate(_SORTED) for _ in range(5)]
    return [plain(f"mlv ui in a browser: {count:,} rows are sorted, to pixels", "ms", median(times), 100)]


def _pointing(browser: Any, quick: bool) -> list[Figure]:
    count, points = (10, 1000) if quick else (100, 10_000)
    with folder() as place:
        for number in range(count):
            write(place / "runs" / f"long_{number}", number, points)
        with _page(browser, place / "runs", place) as page:
            page.wait_for_function(f"document.querySelector('.foot').textContent.startsWith('{count} curves')")
            page.wait_for_timeout(1000)
            box, measures = page.locator(".u-over").first.bounding_box(), page.context.new_cdp_session(page)
            measures.send("Performance.enable")
            before = _busy_s(measures)
            for move in range(_MOVES):
                page.mouse.move(box["x"] + 1 + (box["width"] - 2) * move / _MOVES, box["y"] + box["height"] / 2)
            spent = (_busy_s(measures) - before) * 1000 / _MOVES
    return [plain(f"the same: a move of the pointer over {count} curves, main thread", "ms", spent, 16)]


def _busy_s(measures: Any) -> float:
    metrics = measures.send("Performance.getMetrics")["metrics"]
    return next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")


def _painting(browser: Any, quick: bool) -> list[Figure]:
    numbers, count = random.Random(1), 5 if quick else 40
    with folder() as place, Exp(place / "runs", "live", capture=()) as exp:
        exp.log({"loss": 0.0}, step=0)
        exp.log({"loss": 1.0}, step=count)
        exp.flush()
        with _page(browser, place / "runs", place) as page:
            page.wait_for_function("document.querySelector('.live').textContent === 'live'")
            page.wait_for_timeout(1000)
            page.evaluate(_WATCH)
            moments = []
            for step in range(1, count + 1):
                page.wait_for_timeout(500 + 500 * numbers.random())
                moments.append(time.time() * 1000)
                exp.log({"loss": numbers.random()}, step=count + step)
            page.wait_for_timeout(2000)
            changes: list[float] = page.evaluate("window.changes")
    delays = []
    for moment in moments:
        index = bisect_left(changes, moment)
        delays.append(changes[index] - moment if index < len(changes) else _LOST_MS)
    return [plain("the same: from log() to the painted pixel, 95th percentile", "ms", quantile(delays, 0.95), 300)]


@contextmanager
def _page(browser: Any, root: Path, around: Path) -> Iterator[Any]:
    """Serve a folder, and open its list with a chart."""
    with served(root, around) as (server, _):
        context = browser.new_context(viewport={"width": 1200, "height": 800})
        try:
            page = context.new_page()
            page.goto(server.address)
            page.locator(".rows .row").first.wait_for()
            page.locator(".chart canvas").first.wait_for()
            yield page
        finally:
            context.close()

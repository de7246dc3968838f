"""The built page on the real server, in a real browser."""

from __future__ import annotations

import pytest

from tests.web.browser import CHROMIUM, needs_browser
from tests.web.test_ui_command import address_of, started

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
pytestmark = needs_browser


def test_page_shows_the_experiments(runs):
    """The page lists the experiments, under the server's own content policy, without a complaint of the browser."""
    complaints: list[str] = []
    with started(runs, "--no-open", "--port", 0) as process, sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"])
        page = browser.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address_of(process))
        sync_api.expect(page.get_by_text("digits_1").first).to_be_visible(timeout=60_000)
        browser.close()

    assert complaints == []

"""The page of a lake in a real browser: its age, the rows of another build, and the way to the logs and back."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("deltalake", reason="needs mlvlogger[lake]")
pytest.importorskip("duckdb", reason="needs mlvlogger[lake]")

import mlv
from mlv import lake
from mlv.lake.listing import LakeListing
from mlv.web.limits import LIMITS
from tests.web.browser import needs_browser
from tests.web.test_page import browser, opened, served, sync_api

pytestmark = needs_browser
__all__ = ["browser"]


def test_the_age_of_a_list(runs, browser, monkeypatch):
    """The list says how old it is; another build brings its rows into the open page, and a link leads to the logs and back."""
    monkeypatch.setattr(LIMITS, "lake_look_s", 0.2)
    url = runs.parent / "lake"
    lake.build(runs, url)
    listing = LakeListing(lake.Lake(url), runs)

    with served(runs, lake=listing) as address, opened(browser, address) as page:
        age, rows = page.locator(".age"), page.locator(".rows .row")
        sync_api.expect(age).to_have_text(re.compile(r", as of \d\d:\d\d, just now read the logs"))
        with mlv.Exp(runs, "later", {"lr": 0.3}, capture=()) as exp:
            exp.log({"loss": 0.5}, step=0)
        sync_api.expect(rows).to_have_count(2)
        age.get_by_role("link").click()
        sync_api.expect(age).to_have_text(", from the logs back to the lake")
        sync_api.expect(rows).to_have_count(3)
        age.get_by_role("link").click()
        sync_api.expect(age).to_have_text(re.compile("as of"))
        sync_api.expect(rows).to_have_count(2)
        lake.build(runs, url)
        sync_api.expect(page.get_by_role("link", name="later")).to_be_visible()
        page.get_by_role("link", name="later").click()
        sync_api.expect(page.get_by_role("heading", name="later")).to_be_visible()

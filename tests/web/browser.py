"""The browser that shows the built page: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil

import pytest

from mlv.web.built import STATIC

CHROMIUM = shutil.which("chromium")
IS_REQUIRED = os.environ.get("MLV_PAGE") == "required"
"""Whether a browser or a page that is missing is a failure: CI says so."""

needs_browser = [
    pytest.mark.skipif(CHROMIUM is None and not IS_REQUIRED, reason="needs Debian's chromium"),
    pytest.mark.skipif(
        not (STATIC / "page.js").exists() and not IS_REQUIRED,
        reason="the page is not built: install with Node, or npm run build",
    ),
]

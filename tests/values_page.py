"""`schemas/values.md` for tests: the rows of its tables, and what the expressions in them may use."""

from __future__ import annotations

import re
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[1] / "schemas" / "values.md").read_text()
LIBRARIES = {"np": "numpy", "pd": "pandas", "torch": "torch"}


def names() -> dict[str, Any]:
    """What the expressions of the rows may use: the page's own code, and the libraries that are installed."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    found: dict[str, Any] = {"__name__": "values"}
    exec(compile(code, "values.md", "exec", dont_inherit=True), found)
    for short, library in LIBRARIES.items():
        with suppress(ImportError):
            found[short] = import_module(library)
    return found


NAMES = names()


def rows(heading: str) -> list[Any]:
    """The rows of the table in a section, a list of code spans for each cell; skipped where a library is missing."""
    found = []
    for cells, missing in _read(heading):
        skip = [pytest.mark.skip(reason=f"needs {missing[0]}")] if missing else []
        found.append(pytest.param(cells, id=cells[0][0].encode("ascii", "replace").decode(), marks=skip))
    return found


def possible_rows(heading: str) -> list[list[list[str]]]:
    """The rows whose libraries are installed."""
    return [cells for cells, missing in _read(heading) if not missing]


def all_rows(heading: str) -> list[list[list[str]]]:
    """Every row, also those that nothing here can run."""
    return [cells for cells, _ in _read(heading)]


def _read(heading: str) -> list[tuple[list[list[str]], list[str]]]:
    """The cells of each row, and the libraries that it needs and that are missing."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = []
    for line in section.splitlines():
        if line.startswith("| `"):
            cells = [re.findall(r"`([^`]*)`", cell) for cell in line.split(" | ")]
            missing = [library for short, library in LIBRARIES.items() if f"{short}." in cells[0][0] and short not in NAMES]
            found.append((cells, missing))
    return found

"""The page that was built into the package, and what to do where it was not."""

from __future__ import annotations

from pathlib import Path

from mlv.errors import FileUnusable

STATIC = Path(__file__).parent / "static"
"""The built page; not there where it could not be built."""
NOT_BUILT = (
    "The page of mlv was not built when mlv was installed. Install Node.js 20 or later, or let pip reach the network, and "
    "install mlv again as you did, with --force-reinstall --no-deps and -v, which shows the reason"
)
"""The advice where the page is missing."""


def is_built() -> bool:
    """Return whether the page is there."""
    return (STATIC / "index.html").is_file()


def content(name: str) -> bytes:
    """Return a file of the page.

    Raises:
        FileUnusable: There is none of this name, or no page at all.
    """
    if not is_built():
        raise FileUnusable(NOT_BUILT, path=name)
    if name not in names():
        raise FileUnusable(f"the page has no file {name!r:.100}", path=name)
    return (STATIC / name).read_bytes()


def names() -> list[str]:
    """Return the names of the page's files, without the mark of what it was built from."""
    paths = STATIC.iterdir() if STATIC.is_dir() else ()
    return sorted(path.name for path in paths if path.is_file() and not path.name.startswith("."))

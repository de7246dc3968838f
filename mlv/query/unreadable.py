"""Experiments among many that cannot be read to the end: each is left out with a warning, and no other is affected."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlv.errors import MlvWarning
from mlv.notices import warn
from mlv.store import layout


@contextmanager
def leaving_out(folder: Path) -> Iterator[None]:
    """Warn where reading an experiment fails, and go on behind the block: it was removed, replaced or forbidden meanwhile."""
    try:
        yield
    except OSError as error:
        reason = "it was removed while it was read" if not layout.is_experiment(folder) else error.strerror or str(error)
        at = f" ({error.filename})" if error.filename and layout.is_experiment(folder) else ""
        warn(f"{folder} is left out, or what is left of it: {reason}{at}", MlvWarning)

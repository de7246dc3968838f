"""Files of JSON with settings or values by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlv.importers.reading import SourceReading


def mapping_of(path: Path, reading: SourceReading) -> dict[str, Any]:
    """Return the mapping in a file; empty where it is gone or none, which is recorded."""
    if not path.exists():
        return {}
    if not reading.takes_file(path, path.parent):  # nothing may ever come of a pipe, and no end of a device
        reading.leave(f"{path.name} that is no file, or lies elsewhere")
        return {}
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        reading.leave(f"{path.name} that is no JSON: it is damaged, or is being written")
        return {}
    reading.advance(path.stat().st_size)
    return content if isinstance(content, dict) else {}

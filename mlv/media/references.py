"""Events that refer to files which nobody has hashed yet: a worker hashes them, not the training process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlv.store.references import all_completed


def encode(options: Mapping[str, Any], _buffers: object, _target: object) -> Any:
    """Return the event's data, in `options["data"]`, with the SHA-256 of each file that it refers to.

    A file that was changed or removed since it was referred to gets a `problem` instead: the hash of its present content
    would be a wrong one.
    """
    return all_completed(options["data"])

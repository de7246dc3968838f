"""SHA-256 without OpenSSL until much is hashed: it takes 3 of the 60 ms that `import mlv` may cost, or of the first `Exp`."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hashlib import _Hash

    from typing_extensions import Buffer

_MOST_BYTES = 1 << 16
"""Python's own SHA-256 takes 0.2 ms for as much."""


def sha256(content: Buffer = b"") -> _Hash:
    """Return a hash object, as `hashlib.sha256` does; begin without content where much may follow."""
    is_small = 0 < memoryview(content).nbytes <= _MOST_BYTES
    if is_small and "hashlib" not in sys.modules and (own := _own()) is not None:
        hash_: _Hash = own(content)
        return hash_
    from hashlib import sha256

    return sha256(content)


def _own() -> Any:
    """Return the constructor that `hashlib` falls back on, as `random` does too; None in a Python without it."""
    try:
        return import_module("_sha2" if sys.version_info >= (3, 12) else "_sha256").sha256
    except ImportError:
        return None

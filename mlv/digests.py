"""SHA-256, imported when something is hashed for the first time: OpenSSL takes 3 of the 60 ms that `import mlv` may cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

    from typing_extensions import Buffer


def sha256(content: Buffer = b"") -> _Hash:
    """Return a hash object, as `hashlib.sha256` does."""
    from hashlib import sha256

    return sha256(content)

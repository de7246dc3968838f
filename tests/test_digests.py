"""Hash objects, with and without OpenSSL."""

from __future__ import annotations

import hashlib

import pytest

PROGRAM = """
    import sys
    from mlv.digests import sha256

    digest = sha256(b"x" * int(sys.argv[1]))
    digest.update(b"and more")
    print(digest.hexdigest(), digest.copy().digest().hex(), "hashlib" in sys.modules)
"""


@pytest.mark.parametrize(("size", "is_loaded"), [(0, True), (1, False), (1 << 16, False), ((1 << 16) + 1, True)])
def test_small_content(python, size, is_loaded):
    """OpenSSL is loaded for a stream and for much content only, and the digest is the same."""
    expected = hashlib.sha256(b"x" * size + b"and more").hexdigest()

    assert python(PROGRAM, size).stdout.split() == [expected, expected, str(is_loaded)]

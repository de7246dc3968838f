"""Judges of texts that a shape has matched: whether a machine made them at random, and their base64."""

from __future__ import annotations

import re

from mlv.capture.names import compiled, holds_digit, is_mixed


def has_random_run(text: str) -> bool:
    """Return whether a text holds an unbroken run of letters and digits that no hyphenated word would have."""
    runs = re.split(r"[^A-Za-z0-9]+", text)
    return any(len(run) >= 12 and holds_digit(run) and not run.isdigit() for run in runs)


def is_random(text: str) -> bool:
    """Return whether a text is no chain of words and numbers, such as `bearing_fault_dataset_v2` or `run-20241121`."""
    runs = [run for run in re.split(r"[^A-Za-z0-9]+", text) if run]
    return not all(compiled(r"[A-Za-z]{0,15}[0-9]{0,4}|[0-9]+|[0-9]{1,4}[A-Za-z]{1,3}").fullmatch(run) for run in runs)


def is_mixed_random(text: str) -> bool:
    """Return whether a text holds digits, capitals and small letters."""
    return holds_digit(text) and is_mixed(text)


def is_basic(text: str) -> bool:
    """Return whether a text is `user:password` in base64."""
    import base64
    import binascii

    try:
        return b":" in base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return False


def decoded_base64(text: str) -> bytes:
    """Decode the beginning of a base64 text, as far as it can be read."""
    import base64
    import binascii

    plain = text.rstrip("=")
    try:
        return base64.urlsafe_b64decode(plain[: len(plain) // 4 * 4])
    except (ValueError, binascii.Error):
        return b""

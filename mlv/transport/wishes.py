"""The user's wishes that the writer of a run has to know: they travel with the run's ring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlv.capture.redaction import Redactor
from mlv.frozen import FrozenRecord


class Wishes(FrozenRecord):
    """The options of work that is done beside the training process, for one run."""

    system_s: float | None = None
    """Seconds between two samples of the machine's load; None for no samples."""
    redact: tuple[str, ...] = ()
    """Regular expressions of further credentials, in the texts of messages."""
    keep: tuple[str, ...] = ()
    """Regular expressions over names whose values are no credentials."""

    def to_info(self) -> dict[str, Any]:
        """Return the fields for the ring's header; those without a value are left out."""
        fields = {"system_s": self.system_s, "redact": list(self.redact), "keep": list(self.keep)}
        return {name: value for name, value in fields.items() if value}

    @classmethod
    def from_info(cls, info: Mapping[str, Any]) -> Wishes:
        """Read it back."""
        return cls(info.get("system_s"), tuple(info.get("redact", ())), tuple(info.get("keep", ())))

    @property
    def patterns(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Patterns of further credentials, and of names that hold none."""
        return self.redact, self.keep

    def redactor(self) -> Redactor:
        """Make the redactor that takes credentials out of texts."""
        return Redactor(self.redact, self.keep)

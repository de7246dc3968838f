"""What the writer of a run is to know of the user's wishes: it travels with the run's ring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlv.capture.redaction import Redactor
from mlv.frozen import FrozenRecord


class Wishes(FrozenRecord):
    """What is done beside the training process, for one run."""

    system_s: float | None = None
    """Seconds between two samples of what the machine does; None for no samples."""
    redact: tuple[str, ...] = ()
    """Regular expressions over what is a credential as well, in the texts of messages."""
    keep: tuple[str, ...] = ()
    """Regular expressions over names of what is none."""

    def to_info(self) -> dict[str, Any]:
        """What stands in the ring's header beside the rest; what is not wished for is left out."""
        given = {"system_s": self.system_s, "redact": list(self.redact), "keep": list(self.keep)}
        return {name: value for name, value in given.items() if value}

    @classmethod
    def from_info(cls, info: Mapping[str, Any]) -> Wishes:
        """Read it back."""
        return cls(info.get("system_s"), tuple(info.get("redact", ())), tuple(info.get("keep", ())))

    @property
    def patterns(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What is a credential as well, and what is none."""
        return self.redact, self.keep

    def redactor(self) -> Redactor:
        """What takes credentials out of texts."""
        return Redactor(self.redact, self.keep)

"""The effects of shipping one experiment, for whoever asked for it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Shipped:
    """The effects of shipping one experiment."""

    path: str
    """Below the root; empty for the root itself."""
    lines_bytes: int = 0
    """Uncompressed bytes of lines that were shipped."""
    segments: int = 0
    files: int = 0
    files_bytes: int = 0
    merged: int = 0
    """Number of segments that larger ones replaced."""
    different: list[str] = field(default_factory=list)
    """Keys of objects that hold other bytes than were to be shipped."""
    unshipped: dict[str, str] = field(default_factory=dict)
    """Reasons by path why something readable was not shipped."""
    notes: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Whether the bucket has all that can be read, and holds nothing else in its place."""
        return not self.different and not self.unshipped

    @property
    def is_empty(self) -> bool:
        """Whether nothing new was shipped."""
        return not (self.segments or self.files)

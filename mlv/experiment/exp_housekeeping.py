"""The calls of an Exp that keep a folder of experiments in order: tags, notes, the archive, moving and removing."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mlv.experiment.opening.captures import warn_of_redactions
from mlv.experiment.opening.setup import checked_tags
from mlv.store.mirrors import is_mirrored
from mlv.store.paths import checked_path

if TYPE_CHECKING:
    from mlv.capture.redaction import Redactor
    from mlv.experiment.exp import Exp
    from mlv.experiment.session import Session
    from mlv.state import State


class Housekeeping:
    """The part of `Exp` that keeps a folder of experiments in order."""

    __slots__ = ()

    if TYPE_CHECKING:
        _folder: Path
        _session: Session
        _redactor: Redactor

        def _writable(self) -> Session: ...

        def _state(self) -> State: ...

    def add_tags(self, *tags: str) -> None:
        """Add tags: an event of type `tags`.

        Tags are no run: where this process has none in the experiment, they are written at once, beside the runs, whose
        status, start and duration stay, also while another process goes on with one.

        Raises:
            InvalidArgument: One is no text.
            NotAnnotated: Nothing can be written into the folder.
        """
        self._writable().annotate("tags", {"tags": checked_tags(tags, self._redactor)})
        warn_of_redactions(self._redactor)

    def add_note(self, text: str) -> None:
        """Add a note: an event of type `note`, written as tags are.

        Raises:
            NotAnnotated: Nothing can be written into the folder.
        """
        self._writable().annotate("note", {"text": self._redactor.text(str(text), "note")})
        warn_of_redactions(self._redactor)

    def remove_tags(self, *tags: str) -> None:
        """Take tags away, also those it was made with: an event of type `tags_removed`, written as tags are.

        Raises:
            InvalidArgument: One is no text.
            NotAnnotated: Nothing can be written into the folder.
        """
        self._writable().annotate("tags_removed", {"tags": checked_tags(tags, self._redactor)})

    @property
    def is_archived(self) -> bool:
        """Whether `mlv ls` leaves it out."""
        return self._state().is_archived

    def archive(self) -> None:
        """Have `mlv ls` leave it out: an event of type `archived`, beside the runs, whose status stays.

        Raises:
            NotAnnotated: Nothing can be written into the folder.
        """
        self._writable().annotate("archived", {"archived": True}, is_beside=True)

    def unarchive(self) -> None:
        """Have `mlv ls` list it again: an event of type `archived`.

        Raises:
            NotAnnotated: Nothing can be written into the folder.
        """
        self._writable().annotate("archived", {"archived": False}, is_beside=True)

    def move(self, to: str | os.PathLike[str]) -> Exp:
        """Move the experiment, with its sub-experiments, to another path, and return it there.

        References to it and in it go on leading to the same experiments and files: the old folder keeps a note of the move,
        and an event of type `moved` names the old folder.

        Args:
            to: The new folder, which is made; on the same disk.

        Raises:
            InvalidArgument: The new folder lies in this one.
            ExperimentBusy: A run goes on, here or in a sub-experiment.
            SavedirUnusable: The new path is taken or on another disk, or nothing may be moved there.
            NotAnnotated: Nothing can be written into the folder.
        """
        from mlv.experiment.opening.resting import check_rest  # `import mlv` does without
        from mlv.store import moves  # `import mlv` does without

        exp, target = cast("Exp", self), checked_path(to, "to")
        if self._session.is_disabled or self._session.is_silent:
            return exp
        check_rest(self._folder, "moved")
        is_noted = not moves.is_in_trash(self._folder)
        if is_noted:  # before the move: a kill between both leaves an event that names the folder in which it still is
            self._writable().annotate("moved", {"from": str(self._folder)}, is_beside=True)
        moves.move(self._folder, target, is_noted=is_noted)
        return type(exp).open(target)

    def remove(self, *, now: bool = False) -> Path | None:
        """Move the experiment, with its sub-experiments, into the trash: `.mlv/trash` in the folder around the outermost one.

        Args:
            now: Delete it instead.

        Returns:
            Its path in the trash, from where `Exp.open(path).move(...)` brings it back; None where it is deleted.

        Raises:
            ExperimentBusy: A run goes on, here or in a sub-experiment.
            SavedirUnusable: It cannot be moved, or not all of it can be deleted.
            OnlyRead: It is in a bucket.
        """
        from mlv.experiment.opening.resting import check_rest  # `import mlv` does without
        from mlv.store import moves  # `import mlv` does without

        if self._session.is_disabled or self._session.is_silent:
            return None
        if is_mirrored(self._folder):
            self._writable()  # refuses: the bucket would have it still
        check_rest(self._folder, "removed")
        trash = moves.trash_path(self._folder, datetime.now(timezone.utc))
        moves.move(self._folder, trash, is_noted=False)
        if not now:
            return trash
        moves.delete(trash)
        return None

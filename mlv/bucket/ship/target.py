"""The target of shipping: an experiment in a folder, its path in a bucket, and the names and the deletion of its objects."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mlv.bucket import names
from mlv.bucket.ship.effects import Shipped
from mlv.bucket.store import ObjectStore
from mlv.errors import BucketDenied, BucketError, MlvWarning
from mlv.notices import warn
from mlv.store import layout


class Target:
    """An experiment in a folder, and where it goes in a bucket."""

    def __init__(self, folder: Path, path: str, store: ObjectStore) -> None:
        """Take the folder, and the path of the experiment below the root of a store; no request is made."""
        self.folder, self.path, self.store = folder, path, store
        self.shipped = Shipped(path)
        """The effects so far."""
        self.keeps = False
        """Whether the store refused to delete: it was told."""

    def key(self, below: str) -> str:
        """Return the key of an object below the experiment."""
        return names.join(self.path, below)

    def below(self, key: str) -> str:
        """Return the name of an object below the experiment, of its key."""
        return key[len(self.path) + 1 :] if self.path else key

    def answers(self) -> bool:
        """Return whether the bucket answers at all: then it refuses one object, and the others can be shipped."""
        with suppress(BucketError):
            return self.store.head(self.key(layout.META)) is not None
        return False

    def delete(self, keys: Sequence[str], reason: str = "") -> None:
        """Delete objects; where that is refused, say so once.

        Args:
            keys: Those of the objects.
            reason: Why nobody may keep them, behind "objects that"; empty for segments that a larger one covers.
        """
        for number, key in enumerate(keys):
            try:
                self.store.delete(key)
            except BucketDenied as error:
                if reason:
                    text = f"{self.store.url} refuses to delete objects that {reason}: {', '.join(keys[number:])}. {error}"
                    self.shipped.notes.append(text)
                    warn(f"{text}. Delete them as somebody who may", MlvWarning)
                elif not self.keeps:
                    self.shipped.notes.append(f"{self.store.url} refuses to delete: small segments stay beside merged ones")
                self.keeps = True
                return

"""The calls of an experiment about the run of this process: pausing, rewinding, flushing, ending, and the digest of its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING

from mlv.capture.redaction import Redactor
from mlv.errors import InvalidArgument, MetaEdited, MlvWarning, OnlyRead
from mlv.events import STATUSES, RunPaused, RunResumed
from mlv.experiment.opening.ranks import this_launch_rank
from mlv.experiment.opening.rendezvous import together
from mlv.experiment.opening.setup import ExpComponents
from mlv.experiment.session import Session
from mlv.notices import say, warn
from mlv.store import ends
from mlv.store.meta import Meta

_ENDINGS = tuple(status for status in STATUSES if status not in ("running", "lost"))


class Running:
    """The part of `Exp` that pauses, rewinds and ends its run."""

    __slots__ = ()

    if TYPE_CHECKING:
        _folder: Path
        _meta: Meta
        _session: Session
        _redactor: Redactor
        _edited: MetaEdited | OnlyRead | None

        def _writable(self) -> Session: ...

    @property
    def digest(self) -> str | None:
        """Digest that proves the lines written until the latest run ended, for `mlv verify --expect`; None during a run."""
        return ends.digest_of(self._folder)

    def pause(self, reason: str | None = None) -> None:
        """Record that work stops for a while: an event of type `run_paused`."""
        self._writable().emit_record(RunPaused(reason))

    def resume(self) -> None:
        """Record that work goes on: an event of type `run_resumed`."""
        self._writable().emit_record(RunResumed())

    @contextmanager
    def paused(self, reason: str | None = None) -> Iterator[None]:
        """Call `pause` at the beginning of the block, and `resume` at its end, also after an exception."""
        self.pause(reason)
        began = monotonic()
        try:
            yield
        finally:
            self._writable().emit_record(RunResumed(monotonic() - began))

    def rewind(self, step: float) -> None:
        """Go on from a step in the run of this `Exp`: otherwise as `Exp.open(path, rewind_to=step)`, on ranks as well.

        Raises:
            InvalidArgument: The step is no number, or beyond all that survives.
            MetaEdited: As `log`.
        """
        folder = self._folder
        components = ExpComponents(folder, self._meta, self._session, self._redactor, edited=self._edited)
        description = f"rewind of {folder.name!r} to step {step!r}"
        is_apart = self._session.is_apart or this_launch_rank().rank != self._session.rank
        together(
            folder.parent,
            description,
            lambda: _rewind_to(components, step),
            lambda *_: components,
            exact=folder,
            ranks="apart" if is_apart else "main",
        )

    def flush(self, timeout: float = 30, *, outputs: bool = False, shipped: bool = False) -> bool:
        """Return when all that was logged here is fsynced; after `timeout` seconds warn, and return False.

        With `outputs=True`, return when the run's outputs hold it as well; False if one of them does not within the time.
        With `shipped=True`, return when the bucket holds all lines so far; False, and a warning, if that takes longer, or the
        run is not shipped.
        """
        return self._session.flush(timeout, outputs, shipped)

    def close(self, status: str = "ok") -> None:
        """End the run: `run_ended` with the status, then wait until every stream is complete, sealed and fsynced.

        A run is ended by the `Exp` that began it, or by the last of those that wrote: closing another one of this process
        leaves it going on. What would be `ok` is `preempted` where SIGTERM, or SIGUSR1 under SLURM, has asked the process to
        end. Logging afterwards stores nothing and warns once. Closing again does nothing.

        The digest of all that was written is said on stderr: kept elsewhere, `mlv verify --expect` shows what was cut off or
        changed since.

        Raises:
            InvalidArgument: The status is none that a run can end with.
        """
        if status not in _ENDINGS:
            raise InvalidArgument(f"status={status!r}: give one of {', '.join(_ENDINGS)}", status=status)
        with self._telling_digest():
            if status == "ok":
                self._session.end()
                return
            if self._session.is_beside:
                warn(f"close({status!r}) ends nothing: run {self._session.run} goes on with the Exp that began it", MlvWarning)
            self._session.close(status)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._telling_digest():
            self._session.end(error)

    @contextmanager
    def _telling_digest(self) -> Iterator[None]:
        """Print the digest if the block leaves the log complete: kept elsewhere, it proves that nothing was cut off later."""
        session = self._session
        is_told = session.is_started and not (session.is_disabled or session.is_silent or session.parent_run)
        before = ends.digest_of(self._folder) if is_told else None
        yield
        if is_told and (digest := ends.digest_of(self._folder)) not in (None, before):
            say(f"mlv: {self._folder.name} is complete, digest {digest}")


def _rewind_to(components: ExpComponents, step: float) -> ExpComponents:
    """Rewind the experiment to a step, and return it."""
    from mlv.experiment.opening.rewind import rewind  # reads much that `import mlv` does without

    if components.edited is not None:
        raise components.edited
    if not components.session.is_disabled:  # nothing is stored, so that nothing can have come too far
        rewind(components.session, step)
    return components

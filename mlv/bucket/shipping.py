"""The shipping of a run, as the process that logs sees it: ordered before the run can be seen, woken, and waited for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from mlv import words
from mlv.bucket import pending, positions
from mlv.bucket.wish import wish_of
from mlv.errors import MlvWarning
from mlv.interpreter import module_path
from mlv.notices import warn, warn_once
from mlv.store import layout, opening
from mlv.store.owners import Owner
from mlv.transport import orders
from mlv.transport.launch import can_launch
from mlv.transport.orders import SHIPPER, Order

NAME = "shipping"
"""The name by which orders and messages of errors call it."""
_POLL_S, _SOON_S = 0.02, 0.002
_LOOK_S = 1.0
"""Before it is looked whether anybody ships at all."""
_REPORT_S = 10.0
"""Between two looks for a reason why nothing is shipped."""
_MARK_WITHIN_S = 2.0
"""How long the end of a run waits for the mark, when all is up."""


class Shipping:
    """The shipping of one run, from its beginning to its end."""

    def __init__(self, folder: Path, exp_id: str, url: str) -> None:
        """Prepare to ship the run of an experiment to the bucket of a URL, which is checked."""
        self._folder, self._wish = folder, wish_of(folder, url)
        self._exp_id = exp_id
        self._again = f"`mlv push {folder} {self._wish.url}`"
        self._order: Order | None = None
        self._path: Path | None = None
        self._next_report = 0.0

    def order(self, run: str) -> None:
        """Say what the run wants, before anybody can see the run: whoever outlives this process ships it."""
        self._order = Order(
            NAME, self._again, str(self._folder.absolute()), self._exp_id, run, Owner.current().to_data(), module_path()[:-1],
            self._wish.to_bytes(), SHIPPER,
        )  # fmt: skip
        self._path = orders.keep(self._order) if can_launch() else None

    @property
    def is_own(self) -> bool:
        """Whether the run is shipped by itself; else it goes with that of another process."""
        return self._order is not None

    def begin(self) -> None:
        """Start the process that ships; warn where that is impossible."""
        assert self._order is not None
        try:
            if self._path is not None and self._path.exists():
                orders.begin(self._path)
            else:
                orders.begin_unkept(self._order)
        except OSError as error:
            warn(f"{self._folder} is not shipped: {error}. {self._again} ships it afterwards", MlvWarning)
            if not can_launch():
                self._order = None  # nobody would come, however long the end of the run waited

    def wake(self) -> None:
        """Ask for what there is by now to be shipped at once."""
        path = positions.wake_path(self._folder, self._wish.url)
        with suppress(OSError):
            opening.make_folders(self._folder, path.parent)
            opening.emptied(path).close()

    def wait(self, timeout_s: float) -> bool:
        """Wait until all lines that are in the log now are in the bucket; warn, and return False, when the time is over."""
        return self._waited(timeout_s, with_files=False)

    def end(self, timeout_s: float) -> bool:
        """Wait until all lines and files are in the bucket; warn of what is not, and return False, when the time is over."""
        deadline = monotonic() + timeout_s
        if not self._waited(timeout_s, with_files=True):
            return False
        deadline = min(deadline, monotonic() + _MARK_WITHIN_S)
        while self._path is not None and self._path.exists() and monotonic() < deadline:
            sleep(_POLL_S)
        return True

    def report(self) -> None:
        """Warn once of a reason why nothing can be shipped."""
        if monotonic() < self._next_report:
            return
        self._next_report = monotonic() + _REPORT_S  # a position may hold many files, and who flushes may do so often
        position = positions.read(self._folder, self._wish.url)
        if position is not None and position.problem:
            warn_once(
                f"{self._folder} is not shipped now: {position.problem}. It is tried again; the log is complete", MlvWarning
            )

    def _waited(self, timeout_s: float, *, with_files: bool) -> bool:
        began, pause_s, is_looked_after = monotonic(), _SOON_S, False
        with suppress(OSError):
            sizes = pending.sizes(self._folder)
            self.wake()
            while layout.is_experiment(self._folder):
                is_done = self._is_done  # before the look: what it left out stays out
                lines, files = self._missing(sizes, with_files)
                if not lines and not files:
                    return True
                now = monotonic()
                if is_done or now - began > timeout_s:
                    self._warn_of_delay(lines, files, now - began, is_done=is_done)
                    return False
                if now - began > _LOOK_S and not is_looked_after:
                    is_looked_after = True
                    self._look_after()
                sleep(pause_s)
                pause_s = min(2 * pause_s, _POLL_S)
        return False  # the experiment was moved, or removed

    @property
    def _is_done(self) -> bool:
        """Whether the process that ships has ended, and left nothing that another one could do."""
        return self._path is not None and not self._path.exists()

    def _missing(self, sizes: Mapping[str, int], with_files: bool) -> tuple[int, int]:
        """Return the bytes of lines and the number of files that are not shipped."""
        position = pending.position_of(self._folder, self._wish.path, self._wish.url)
        lines = sum(pending.lines(position, sizes).values())
        # Only then: it walks through folders.
        return lines, len(pending.files(self._folder, position)) if with_files and not lines else 0

    def _look_after(self) -> None:
        """Start the process that ships again, if it was killed."""
        if not self.is_own or self._is_done:
            return
        with positions.alone(self._folder, self._wish.url) as is_alone:
            pass
        if is_alone:
            self.begin()

    def _warn_of_delay(self, lines: int, files: int, waited_s: float, *, is_done: bool) -> None:
        amounts = [words.size(lines) + " of lines" if lines else "", words.counted(files, "file") if files else ""]
        late = f"{' and '.join(filter(None, amounts))} of {self._folder} are not in {self._wish.url} after {waited_s:.0f} s"
        position, again = positions.read(self._folder, self._wish.url), self._again
        reason = f": {position.problem}" if position is not None and position.problem else ""
        if complaint := orders.complaint(self._folder, NAME):
            warn(f"{late}: the process that ships stopped ({complaint}). {again} ships them", MlvWarning)
        elif is_done:
            warn(f"{late}{reason}. {again} ships them when that is mended", MlvWarning)
        else:
            warn(f"{late}{reason}. They are shipped as soon as they can be, while this machine runs, or by {again}", MlvWarning)

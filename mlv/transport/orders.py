"""Orders: the outputs that a run wants, and where it is shipped, each a private file of its spool until that is complete.

An order is written before its run can be seen, so that any process that outlives training can start the output's process: the
writer, the next run, or `mlv recover`. It holds a pickled object, so it never lies in the experiment itself, whose folder may
be somebody else's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from mlv.errors import NotAnExperiment
from mlv.frozen import FrozenRecord
from mlv.store import layout, opening
from mlv.store.files import duplicated
from mlv.store.owners import Owner, process_is_gone
from mlv.transport import spool
from mlv.transport.launch import can_launch, launch_module
from mlv.transport.spool_lock import tidy

SUFFIX = ".order"
FOLLOWER, SHIPPER = "mlv.projections.follower", "mlv.bucket.follower"
"""Modules that carry orders out, each in a process of its own."""
_TRACEBACK = "Traceback (most recent call last):\n"


class Order(FrozenRecord):
    """One output of one run."""

    output: str
    """Its name."""
    again: str
    """The command that builds it from the log, for people."""
    folder: str
    exp: str
    """ID of the experiment in the folder: the order holds for no other one."""
    run: str
    """The run to follow to its end."""
    process: Mapping[str, Any]
    """Its process."""
    modules: list[str]
    """Folders that the output's class may be imported from."""
    projection: bytes
    """The output, pickled; or the wishes that another module reads."""
    module: str = FOLLOWER
    """The module whose `main` carries the order out."""

    @property
    def is_left(self) -> bool:
        """Whether the process that wanted the output is gone."""
        return process_is_gone(self.process)

    def to_bytes(self) -> bytes:
        """Return the content of the order's file: a line of JSON, then the output."""
        fields = {name: value for name, value in self.to_dict().items() if name != "projection"}
        return orjson.dumps(fields) + b"\n" + self.projection

    @classmethod
    def from_bytes(cls, content: bytes) -> Order:
        """Read it back; the output is not unpickled.

        Raises:
            ValueError: It is none.
        """
        line, newline, projection = content.partition(b"\n")
        try:
            if newline:
                return cls(**orjson.loads(line), projection=projection)
        except TypeError:
            pass
        raise ValueError("is no order of this version")


def keep(order: Order) -> Path | None:
    """Write an order into the first spool of its experiment that takes it; None where none does."""
    content = order.to_bytes()
    for spool_folder in spool.candidates(Path(order.folder), Owner.current()):
        path = spool_folder / f"{order.run}.{os.urandom(6).hex()}{SUFFIX}"
        for _ in range(2):  # the last writer of the experiment may remove the spool in the middle of it
            try:
                spool.prepare(spool_folder)
                _write_new(path, content)
                return path
            except OSError:
                with suppress(OSError):
                    path.unlink()
    return None


def _write_new(path: Path, content: bytes) -> None:
    with open(spool.opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(content)


def orders_in(spool_folder: Path, run: str | None = None) -> list[Path]:
    """List the orders that wait in a spool, of one run or of all."""
    try:
        names = sorted(os.listdir(spool_folder))
    except OSError:
        return []
    return [spool_folder / name for name in names if name.endswith(SUFFIX) and (run is None or name.startswith(f"{run}."))]


def orders_of(run: str, key: str) -> list[Path]:
    """List the orders of a run in any spool of that key."""
    return [path for base in spool.bases() for path in orders_in(spool.root_of(base) / key, run)]


def read(path: Path) -> Order | None:
    """Read the order in a file; None if it is gone, or cannot be trusted."""
    try:
        with _opened(path) as file:
            return Order.from_bytes(file.read())
    except (OSError, ValueError):
        return None


def left_orders(spool_folders: Iterable[Path]) -> list[Path]:
    """List the orders in some spools that nobody completes: their process is gone, and no other one is at work."""
    paths = (path for spool_folder in spool_folders for path in orders_in(spool_folder))
    return [path for path in paths if not is_held(path) and (order := read(path)) is not None and order.is_left]


def is_held(path: Path) -> bool:
    """Return whether a process is at work on an order, or about to be."""
    try:
        with _opened(path) as file:
            return not _lock(file)
    except OSError:
        return False


def begin(path: Path, folder: Path | None = None) -> bool:
    """Start the process that completes an order, in another folder where the experiment was moved; False if one is there.

    Raises:
        OSError: It cannot be started, the order cannot be trusted, or the folder does not hold the experiment.
    """
    with _opened(path) as file:
        if not _lock(file):
            return False
        try:
            order = Order.from_bytes(file.read())
        except ValueError as error:
            raise OSError(f"{path} {error}") from None
        _launch(order, file, path, folder)
        return True


def begin_unkept(order: Order) -> None:
    """Start the process of an output whose order no spool could take.

    Raises:
        OSError: As `begin`.
    """
    import tempfile  # costs 2 ms, which `import mlv` shall not

    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(order.to_bytes())
        _launch(order, file, None, None)


def _launch(order: Order, file: BinaryIO, path: Path | None, moved_to: Path | None) -> None:
    """Start the process of an output: it inherits the open file, and with it the lock, so that there is no gap between."""
    folder = moved_to or Path(order.folder)
    if order.module not in (FOLLOWER, SHIPPER):
        raise OSError(f"no module of this version carries out {order.output!r}")
    if not can_launch():
        raise OSError("this system cannot start a process from here")
    if not layout.holds(folder, order.exp):
        raise OSError("the experiment is gone")
    errors = layout.errors_path(folder, order.output)
    opening.make_folders(folder, errors.parent)  # not the experiment's own folder: a deleted one stays deleted
    fd = duplicated(file.fileno())
    try:
        with opening.emptied(errors) as log:
            arguments = (str(fd), str(path or ""), str(folder))
            launch_module(order.module, arguments, errors=log.fileno(), also=order.modules, pass_fds=[fd])
    finally:
        os.close(fd)


def complete(fd: str, path: str, folder: str, work: Callable[[Order], bool]) -> None:
    """Carry out the order in an open file, which is locked by that; then remove it from the spool that it may lie in.

    `work` returns whether all is done, so that nobody need begin again.
    """
    os.set_inheritable(int(fd), False)
    with open(int(fd), "rb") as file:  # open to the end: the lock tells the others that somebody is at work
        file.seek(0)
        order = Order.from_bytes(file.read()).replace(folder=folder)
        is_done = False
        try:
            is_done = work(order)
        except NotAnExperiment:
            is_done = True  # the experiment is gone, and its output with it
            raise
        except BaseException:
            # The process that wanted it tells of it. Shipping begins again: the writer looks after it.
            is_done = not order.is_left and order.module == FOLLOWER
            raise
        finally:
            if is_done and path:
                with suppress(OSError):
                    os.unlink(path)
                tidy(Path(path).parent)


def complaint(folder: Path, output: str) -> str:
    """Return the exception that ended the process of an output, if it left a traceback: libraries print other lines too."""
    try:
        text = opening.content(layout.errors_path(folder, output)).decode(errors="replace").strip()
    except OSError:
        return ""
    if _TRACEBACK not in text:
        return ""
    return next((line for line in text.rpartition(_TRACEBACK)[2].splitlines() if line and line[0] != " "), "")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open the file of an order, for its lock and its content.

    Raises:
        OSError: It is gone; or it is not this user's own, in a spool of this user's own: its content is executed.
    """
    with open(spool.opened(path, os.O_RDWR), "rb", buffering=0) as file:
        yield file


def _lock(file: BinaryIO) -> bool:
    """Lock a file for as long as this process, or one that inherits it, has it open; False if another one has."""
    import fcntl  # not everywhere; where it is missing no process can be started, either

    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True  # where there are no locks, two may be at work: one of them waits at the output's own

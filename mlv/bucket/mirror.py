"""Mirrors: the experiments of a bucket as a tree of ordinary ones in the user's cache, brought up to date on request.

```
$XDG_CACHE_HOME/mlv/buckets/<hash of the bucket>/
  url                    of the bucket
  tree/<bucket>/<path>/  each experiment where the bucket has it
  state/<hash>.json      the objects that were taken in, by experiment
  state/<hash>.lock      held while an experiment is brought up to date
  scratch/               unfinished folders
```

All may be deleted at any time: it is fetched again. One listing tells what is new, and only new segments are fetched; files are
fetched when somebody asks for them. Several processes may use one mirror.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Executor, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from mlv.bucket import names
from mlv.bucket.contents import ExperimentObjects
from mlv.bucket.listing import ListedExperiment, listed, problem_of_key
from mlv.bucket.mirror_state import MirrorState, read_state, write_state
from mlv.bucket.mirrored import MirroredExperiment, ShrunkListing
from mlv.bucket.mirrored_files import MirroredFiles, remove_files, without_path
from mlv.bucket.store import ObjectStore, open_store
from mlv.bucket.urls import checked_url, refuse_missing_folder
from mlv.digests import sha256
from mlv.errors import ExperimentBusy, FileUnusable, InvalidArgument, MlvError, MlvWarning, NoSuchObject, NotAnExperiment
from mlv.notices import warn
from mlv.store import attached, blobs, layout, opening
from mlv.store.mirrors import foreign_owner, is_mirrored, mirrors_folder

_ACCOUNTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
"""Variables of the environment on which it depends what bucket a name is that of."""
_THREADS = 16
"""Experiments, and requests beside theirs, at once."""
_LOOKS = 4
"""Listings of one experiment whose objects go away between listing and reading, before that is an error."""
_LOCK_WITHIN_S = 120.0
"""Another process may be fetching the log of a long run."""
_MOST_NOTICES = 20


@dataclass
class Refreshed:
    """The outcome of bringing a mirror up to date."""

    folders: list[Path] = field(default_factory=list)
    """The experiments."""
    notices: list[str] = field(default_factory=list)
    """What could not be used, with its key."""
    unshipped: list[Path] = field(default_factory=list)
    """Experiments of which more is on its way."""


class Mirror:
    """The mirror of the experiments at and below a URL."""

    def __init__(self, url: str, store: ObjectStore | None = None) -> None:
        """Prepare; no request is made.

        Raises:
            InvalidArgument, MissingExtra, BucketError: As `open_store`.
            BucketMissing: It is a folder that is not there.
        """
        base, options = checked_url(url)
        parts = urlsplit(base)
        refuse_missing_folder(url)
        self._store = store or open_store(url)
        self.url = url
        self.prefix = unquote(parts.path).strip("/")
        # The name of an experiment is that of its folder, and one may be a whole bucket.
        bucket = parts.netloc or "root"
        if problem := problem_of_key(names.join(bucket, self.prefix)):
            raise InvalidArgument(f"the URL {url!r} cannot be mirrored: {problem}", url=url)
        query = "&".join(f"{name}={value}" for name, value in sorted(options.items()))
        self._bucket = f"{parts.scheme}://{parts.netloc}"
        self._query = f"?{query}" if query else ""
        identity = "\n".join(
            [self._bucket, self._query, *(os.environ.get(name, "") for name in _ACCOUNTS.get(parts.scheme, ()))]
        )
        self._home = mirrors_folder() / sha256(identity.encode()).hexdigest()[:24]
        self._tree = self._home / "tree" / bucket
        self.folder = self._tree / self.prefix
        """The folder that stands for the URL."""

    # Refreshing.

    def refresh(self) -> Refreshed:
        """List the root, and bring every experiment below it up to date.

        Raises:
            NotAnExperiment: There is none.
            BucketError: The store does not answer, or refuses.
            ExperimentBusy: Another process does not get done with an experiment.
            FileUnusable: The mirror cannot be written.
        """
        there = listed(self._store.objects())
        with self._writing():
            self._remove_others(there.experiments)
        if not there.experiments:
            table = ": what lies there is a Delta table" if there.has_table else ""
            text = f"{self.url} holds no experiment{table}. Give the URL that experiments were shipped to"
            raise NotAnExperiment(text, path=self.url)
        result = Refreshed(notices=[f"{self.url}: {problem}" for problem in there.problems])
        with self._writing(), ThreadPoolExecutor(_THREADS) as requests:
            self._prepare()
            for path, state in self._in_threads(there.experiments.values(), lambda each: self._refresh_one(each, requests)):
                if isinstance(state, str):
                    result.notices.append(state)
                    continue
                if state is None:
                    continue
                folder = self.folder / path
                result.folders.append(folder)
                result.notices += state.notices(self._url_of(folder))
                if not (state.is_whole or state.losses):
                    result.unshipped.append(folder)
        return result

    def _in_threads(
        self, there: Iterable[ListedExperiment], act: Callable[[ListedExperiment], MirrorState | str | None]
    ) -> Iterator[tuple[str, MirrorState | str | None]]:
        """Call a function for each experiment, several at once; the first error ends all."""
        with ThreadPoolExecutor(_THREADS) as threads:
            futures = {each.path: threads.submit(act, each) for each in there}
            try:
                wait(futures.values(), return_when=FIRST_EXCEPTION)
            finally:  # also after Ctrl-C: a thousand experiments are not waited for
                for future in futures.values():
                    future.cancel()
            # Those that failed first: of those that were cancelled nothing can be said.
            for future in sorted(futures.values(), key=lambda future: future.cancelled()):
                if not future.cancelled():
                    future.result()
            yield from ((path, future.result()) for path, future in futures.items())

    def _refresh_one(self, there: ListedExperiment, requests: Executor) -> MirrorState | str | None:
        """Bring an experiment up to date; return its state, None where it went away, or a notice where it has no path here."""
        path = names.join(self.prefix, there.path)
        objects = ExperimentObjects(self._store, there.path, requests)
        mirrored = MirroredExperiment(objects, self._tree, path, self._state_path(path), self._scratch)
        try:
            # Without the lock first: most are as they were, and a thousand locks take longer than the listing.
            if (state := mirrored.current(there)) is not None:
                return state
            with self._alone(path):
                return self._brought(mirrored, there)
        except OSError as error:
            return without_path(names.join(self.url, there.path), error)

    def _brought(self, mirrored: MirroredExperiment, there: ListedExperiment) -> MirrorState | None:
        """Take in a listing, or a later one, where small segments are merged into a larger one, or an experiment is removed."""
        is_sure = False
        for look in range(_LOOKS):
            try:
                return mirrored.update(there, is_sure=is_sure)
            except ShrunkListing:
                is_sure = True  # if the next one says so too
            except NoSuchObject:
                is_sure = False
                if look == _LOOKS - 1:
                    raise
            again = listed(self._store.objects(there.path)).experiments.get(there.path)
            if again is None:
                self._remove(names.join(self.prefix, there.path))
                return None
            there = again
        return mirrored.update(there, is_sure=True)

    def _remove_others(self, experiments: Collection[str]) -> None:
        """Remove the experiments that are not in the bucket any more."""
        for folder in list(layout.walk(self.folder)) if self.folder.is_dir() else []:
            path = _below(folder, self.folder)
            if attached.link_on_the_way(self._tree, _below(folder, self._tree)) is not None:
                continue  # somebody's own experiments: no mirror lies behind a link
            # Twice, as a redaction takes meta.json away for a moment.
            if path not in experiments and path not in listed(self._store.objects(path)).experiments:
                with self._alone(_below(folder, self._tree)):
                    self._remove(_below(folder, self._tree))

    def _remove(self, path: str) -> None:
        """Remove what is here of an experiment, without those below it."""
        folder = self._tree / path
        with suppress(FileNotFoundError):
            self._state_path(path).unlink()
        remove_files(folder)
        with suppress(FileNotFoundError):
            (folder / layout.META).unlink()
        for stream in layout.streams_in(folder) if folder.is_dir() else []:
            (folder / layout.stream_file(stream)).unlink()
        shutil.rmtree(folder / layout.HOUSEKEEPING, ignore_errors=True)

    # Files.

    def bring_files(self, folder: Path, paths: Collection[str] | None = None) -> list[str]:
        """Bring the files of an experiment that the mirror lacks; return a notice for each that cannot be had.

        Args:
            folder: The experiment.
            paths: Files, or folders of files; None takes all.

        Raises:
            BucketError: The store does not answer, or refuses.
            ExperimentBusy: Another process does not get done with the experiment.
            FileUnusable: The mirror cannot be written.
        """
        with ThreadPoolExecutor(_THREADS) as requests:
            return self._bring_files(folder, paths, requests)

    def bring_all_files(self, folders: Sequence[Path]) -> Iterator[list[str]]:
        """Bring the files of several experiments as `bring_files` does, some at once; yield the notices of each in order."""
        with ThreadPoolExecutor(_THREADS) as requests, ThreadPoolExecutor(_THREADS) as threads:
            yield from threads.map(lambda folder: self._bring_files(folder, None, requests), folders)

    def _bring_files(self, folder: Path, paths: Collection[str] | None, requests: Executor) -> list[str]:
        path = _below(folder, self._tree)
        with self._writing(), self._alone(path):
            state = read_state(self._state_path(path))
            if state is None:
                return [f"{self._url_of(folder)} is not in the mirror any more: list it again"]
            objects = ExperimentObjects(self._store, _below(folder, self.folder), requests)
            try:
                notices = MirroredFiles(objects, self._tree, folder, state).bring(paths, requests)
            finally:
                write_state(self._state_path(path), state)
        return [f"{self._url_of(folder)}: {notice}" for notice in notices]

    # The folder of the mirror.

    def _prepare(self) -> None:
        for folder in (self._home, self._tree.parent, self._tree, self._home / "state", self._home / "scratch"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with suppress(FileExistsError), opening.new(self._home / "url") as file:
            file.write(f"{self._bucket}{self._query}".encode())

    def _state_path(self, path: str) -> Path:
        return self._home / "state" / f"{sha256(path.encode()).hexdigest()[:32]}.json"

    def _scratch(self) -> Path:
        folder = blobs.temporary_beside(self._home / "scratch" / "experiment")
        folder.mkdir()
        return folder

    @contextmanager
    def _alone(self, path: str) -> Iterator[None]:
        """Be the one that changes an experiment of the mirror.

        Raises:
            ExperimentBusy: Another process does not get done with it.
        """
        from filelock import FileLock, Timeout  # `import mlv` does without

        lock = FileLock(self._state_path(path).with_suffix(".lock"))
        try:
            lock.acquire(timeout=_LOCK_WITHIN_S)
        except Timeout:
            text = f"another process has been bringing {self._tree / path} up to date for {_LOCK_WITHIN_S:g} s: try again later"
            raise ExperimentBusy(text, path=str(self._tree / path)) from None
        except NotImplementedError:
            pass  # a file system without locks: what two made of it together does not fit the state, and is made anew
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Translate errors of the system about the mirror.

        Raises:
            FileUnusable: It cannot be written, or is another user's.
        """
        try:
            self._refuse_foreign()
            yield
        except MlvError:
            raise
        except OSError as error:
            text = f"the mirror of {self.url} in {self._home} cannot be written: {error.strerror or error}"
            raise FileUnusable(
                f"{text}. Make room there, or set XDG_CACHE_HOME to another folder", path=str(self._home)
            ) from error

    def _refuse_foreign(self) -> None:
        """Refuse a mirror of another user."""
        if (owner := foreign_owner(self._home)) is not None:
            text = f"the mirror of {self.url} in {self._home} belongs to another user, of number {owner}"
            raise FileUnusable(f"{text}: set XDG_CACHE_HOME to a folder of your own", path=str(self._home))

    def _url_of(self, folder: Path) -> str:
        return f"{self._bucket}/{quote(_below(folder, self._tree))}"


def _below(folder: Path, root: Path) -> str:
    """Return the key of a folder below a root; empty for the root itself."""
    return "/".join(folder.relative_to(root).parts)


def mirror_of(folder: Path) -> Mirror | None:
    """Return the mirror that a folder is a part of, for that folder alone; None for any other folder.

    Raises:
        InvalidArgument, MissingExtra, BucketError: As `Mirror`.
    """
    top, real = os.path.realpath(mirrors_folder()), os.path.realpath(folder)
    parts = Path(os.path.relpath(real, top)).parts
    if len(parts) < 3 or parts[0] == os.pardir or parts[1] != "tree":
        return None
    try:
        bucket, _, query = opening.content(Path(top, parts[0], "url")).decode().partition("?")
    except (OSError, UnicodeDecodeError):
        return None
    mirror = Mirror(f"{bucket}/{quote('/'.join(parts[3:]))}{'?' + query if query else ''}")
    # Not where the environment leads to another bucket of that name now.
    return mirror if os.path.realpath(mirror.folder) == real else None


def mirrored(url: str) -> Mirror:
    """Return the mirror of a URL, brought up to date, and warn of the objects that could not be used.

    Raises:
        InvalidArgument, MissingExtra, BucketError, NotAnExperiment, ExperimentBusy, FileUnusable: As `Mirror` and `refresh`.
    """
    mirror = Mirror(url)
    tell(mirror.refresh().notices)
    return mirror


def _bring_absent(folder: Path, path: str) -> None:
    """Bring a file of an experiment that a mirror holds.

    Raises:
        FileUnusable: It was not shipped.
    """
    if is_mirrored(folder) and (mirror := mirror_of(folder)) is not None:
        for notice in mirror.bring_files(mirror.folder, [path]):
            raise FileUnusable(notice, path=path)


attached.bring_absent = _bring_absent


def tell(notices: Collection[str]) -> None:
    """Warn of what could not be used."""
    for notice in [*notices][:_MOST_NOTICES]:
        warn(notice, MlvWarning)
    if len(notices) > _MOST_NOTICES:
        warn(f"{len(notices) - _MOST_NOTICES} more objects and differences", MlvWarning)

"""The Delta tables of a lake: opened, made, and committed to, each plan at most once.

Delta keeps for an application the latest version that it has committed. A second commit of the same version is not refused by
itself: only a *handle* that was opened before the first one finds it among the commits since, and fails. So a table is opened,
its version is read, and what is missing is written by that very handle. A test pins this behaviour of `deltalake`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from mlv.bucket.urls import checked_url, is_url
from mlv.errors import InvalidArgument, LakeDamaged, LakeError
from mlv.lake.columns import BOUNDED, KEYED, KEYS, MONTH, TABLES, schemas
from mlv.lake.tasks import NewFile
from mlv.optional import package

LOG = "_delta_log"
"""The folder of a table's log."""
CHECKPOINT = ".checkpoint.parquet"
"""The end of the name of a checkpoint in it: of a file with all entries up to a version."""
R = TypeVar("R")

APP = "mlv.lake"
"""The application, to Delta; the version that it commits is the number of the plan."""
_NAME = "mlv"
_TRIES = 20


def checked(url: str | os.PathLike[str]) -> str:
    """Return the URL of a lake; a path becomes one.

    Raises:
        InvalidArgument: As `mlv.bucket.store.open_store`, or `deltalake` cannot keep a table in the folder.
    """
    if is_url(url):
        base, _ = checked_url(str(url))
        return checked(unquote(base.removeprefix("file://"))) if base.startswith("file://") else str(url)
    if "://" in os.fspath(url):
        raise InvalidArgument(f"{os.fspath(url)!r} is a folder's name here: write it as ./{os.fspath(url)}", url=url)
    path = os.path.abspath(os.fspath(url))
    if sign := _UNUSABLE.search(path):
        raise InvalidArgument(
            f"deltalake cannot keep a table in {path!r}, whose name has {sign[0]!r}: give another folder", url=url
        )
    return f"file://{quote(path)}"


_UNUSABLE = re.compile(r"%[0-9A-Fa-f]{2}|[\x00-\x1f\x7f\[\]^|\\]")
"""Signs in the name of a folder that `deltalake` 1.6 takes for others, or ends at."""
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_PREFIXES = {"s3": "AWS", "az": "AZURE_STORAGE", "gs": "GOOGLE"}


class LakeTables:
    """The tables below a root."""

    def __init__(self, url: str, lake_id: str) -> None:
        self.url, self._id = url, lake_id
        self._base, self._options = checked_url(url)
        self._delta = package("deltalake", "lake")

    def uri(self, name: str) -> str:
        """Return the address of a table, as other programs open it: a path, or a URL without options."""
        address = self._address(name)
        return unquote(address.removeprefix("file://")) if address.startswith("file://") else address

    def _address(self, name: str) -> str:
        """Return the address of a table for `deltalake`, which takes a `%` of a path for the beginning of a code."""
        return f"{self._base.rstrip('/')}/{name}"

    @property
    def options(self) -> dict[str, str]:
        """The options of the storage, of which the variables of each client tell the others."""
        scheme, options = self._base.partition("://")[0], {}
        # What stands in the URL, under the names that delta-rs has for it.
        variables = _ENDPOINTS.get(scheme, ())
        endpoint = self._options.get("endpoint") or next(filter(None, map(os.environ.get, variables)), "")
        if endpoint:
            options[f"{_PREFIXES[scheme]}_ENDPOINT"] = endpoint
            options["ALLOW_HTTP"] = str(endpoint.startswith("http://")).lower()
        if scheme == "s3":
            if region := self._options.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"):
                options["AWS_REGION"] = region
            options["AWS_CONDITIONAL_PUT"] = "etag"
        return options

    def opened(self, name: str) -> Any:
        """Return a handle of a table as it is now; None where there is none.

        Raises:
            LakeDamaged: Another program's table is there, or one that lacks columns.
            LakeError: It cannot be read.
        """
        table = self._own(name)
        if table is None:
            return None
        missing = [field.name for field in schemas()[name] if field.name not in {own.name for own in table.schema().fields}]
        if missing:
            raise LakeDamaged(f"{self.uri(name)} lacks the columns {', '.join(missing)}: `mlv lake rebuild`", url=self.url)
        return table

    def refuse_others(self, name: str) -> None:
        """Refuse the table of another program; one that cannot be opened any more, as some of its files are gone, is none.

        Raises:
            LakeDamaged: Another program's table is there.
        """
        try:
            self._own(name)
        except LakeDamaged:
            raise
        except LakeError:
            return

    def _own(self, name: str) -> Any:
        exceptions = package("deltalake.exceptions", "lake")
        try:
            table = self._delta.DeltaTable(self._address(name), storage_options=self.options)
        except exceptions.TableNotFoundError:
            return None
        except (exceptions.DeltaError, OSError, ValueError) as error:
            raise LakeError(f"{self.uri(name)} cannot be opened: {_reason(error)}", url=self.url) from error
        if table.metadata().description != self._description:
            raise LakeDamaged(
                f"{self.uri(name)} is a Delta table that this lake has not made: give an empty folder for the lake",
                url=self.url,
            )
        return table

    @staticmethod
    def prefixes(name: str) -> tuple[str, ...]:
        """Return how the keys of all objects of a table begin."""
        return f"{name}/_delta_log/", f"{name}/{MONTH}="

    @property
    def _description(self) -> str:
        return f"lake {self._id}"

    def made(self, name: str) -> Any:
        """Return a handle of a table, which is made where there is none."""
        table = self.opened(name)
        if table is not None:
            return table
        with translated(self.uri(name)):
            try:
                self._delta.DeltaTable.create(
                    self._address(name), schemas()[name], mode="error", partition_by=[MONTH], name=f"{_NAME} {name}",
                    description=self._description, storage_options=self.options,
                    configuration={
                        "delta.logRetentionDuration": "interval 30 days",
                        # A reader fetches each commit since the latest checkpoint; these few rows are those of a list.
                        "delta.checkpointInterval": "3" if name in KEYED else "10",
                        # So long after their time files can still be removed, where no builder came by.
                        "delta.deletedFileRetentionDuration": "interval 30 days",
                        # All others may be secrets, which a redaction does not remove from the log of Delta.
                        "delta.dataSkippingStatsColumns": ",".join(own for own in BOUNDED if own in schemas()[name].names),
                    },
                )  # fmt: skip
            except package("deltalake.exceptions", "lake").DeltaError:  # another builder was faster
                if self.opened(name) is None:
                    raise
        return self.opened(name)

    def done(self, name: str) -> int:
        """Return the number of the latest plan that a table has rows of."""
        table = self.opened(name)
        return 0 if table is None else table.transaction_version(APP) or 0

    def commit(self, name: str, plan: int, write: Callable[[Any, Any], object]) -> bool:
        """Commit what a plan has for a table, unless it is there; return whether this call did.

        `write` gets the handle, and the properties of the commit.

        Raises:
            LakeError: It is refused again and again.
        """
        exceptions = package("deltalake.exceptions", "lake")
        properties = self._delta.CommitProperties(
            app_transactions=[self._delta.Transaction(APP, plan)], custom_metadata={"mlv.plan": str(plan)}, max_commit_retries=5
        )
        refused: Exception | None = None
        for _ in range(_TRIES):
            table = self.made(name)
            if (table.transaction_version(APP) or 0) >= plan:
                return False
            with translated(self.uri(name)):
                try:
                    write(table, properties)
                    return True
                except exceptions.CommitFailedError as error:  # another builder, or its compaction, was faster
                    refused = error
                except (exceptions.DeltaError, OSError):
                    # The answer may have been lost, or the look at the table after the commit may have failed.
                    if self.done(name) < plan:
                        raise
                    return True
        raise LakeError(f"{self.uri(name)} refuses each commit: {_one_line(refused)[:500]}", url=self.url)

    def append_files(self, table: Any, properties: Any, files: Iterable[NewFile], when_ms: int) -> None:
        """Commit files that workers wrote."""
        add = package("deltalake.transaction", "lake").AddAction
        actions = [add(each.path, each.size, {MONTH: each.month}, when_ms, True, each.stats) for each in files]
        table.create_write_transaction(
            actions, mode="append", schema=table.schema(), partition_by=[MONTH], commit_properties=properties
        )

    def append_rows(self, table: Any, properties: Any, rows: Any) -> None:
        """Commit rows."""
        self._delta.write_deltalake(
            table, rows, mode="append", writer_properties=self.writing, commit_properties=properties, target_file_size=1 << 27
        )

    def replace_rows(self, name: str, table: Any, properties: Any, exps: Mapping[str, str], rows: Any) -> None:
        """Commit rows in place of all rows of some experiments, in one step for every reader."""
        predicate = predicate_of(name, exps)
        if not rows.num_rows:
            done = table.delete(predicate, writer_properties=self.writing, commit_properties=properties)
            if not done["num_removed_files"]:
                # It has committed nothing then: without the number of the plan, a builder that was held up might come later.
                self.append_files(table, properties, [], 0)
            return
        self._delta.write_deltalake(
            table, rows, mode="overwrite", predicate=predicate, writer_properties=self.writing, commit_properties=properties,
            target_file_size=1 << 27,
        )  # fmt: skip

    @property
    def writing(self) -> Any:
        """The form of Parquet files."""
        return self._delta.WriterProperties(compression="ZSTD", max_row_group_size=1 << 20)


def for_each_table(function: Callable[[str], R]) -> dict[str, R]:
    """Return the result of a function for each table, by name; on an object store it is mostly waited for, for all at once."""
    with ThreadPoolExecutor(len(TABLES)) as threads:
        return dict(zip(TABLES, threads.map(function, TABLES), strict=True))


def is_entry(name: str) -> bool:
    """Return whether an object in the log of a table is a commit or a checkpoint: these are never changed."""
    return name[:20].isdigit() and (name[20:] in (".json", CHECKPOINT))


def is_other_checkpoint(name: str) -> bool:
    """Return whether an object in a log is a checkpoint of several files, as other programs make them."""
    return ".checkpoint." in name and not is_entry(name)


def files_of(table: Any) -> Any:
    """Return what a table knows of its files: each with path, size and rows, and the partition as `partition.month`."""
    actions, pa = table.get_add_actions(flatten=True), package("pyarrow", "lake")
    # `pyarrow.table` imports pandas before it looks at anything, which takes longer than to list 10,000 experiments.
    return pa.RecordBatchReader.from_stream(actions).read_all() if hasattr(actions, "__arrow_c_stream__") else pa.table(actions)


def predicate_of(name: str, exps: Mapping[str, str]) -> str:
    """Return the predicate for the rows of experiments, which come with their months: only these partitions are read."""
    months = ", ".join(f"'{month}'" for month in sorted(set(exps.values())))
    ids = ", ".join(f"'{exp}'" for exp in sorted(exps))
    return f"{MONTH} in ({months}) and {KEYS[name]} in ({ids})"


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Translate the errors of `deltalake`; a commit that was refused is for the caller."""
    exceptions = package("deltalake.exceptions", "lake")
    try:
        yield
    except exceptions.CommitFailedError:
        raise
    except (exceptions.DeltaError, OSError) as error:
        if isinstance(error, LakeError):
            raise
        raise LakeError(f"{uri}: {_reason(error)}", url=uri) from error


def is_refusal(error: object) -> bool:
    """Return whether the store refused access, as the text of an error of `deltalake` tells."""
    return _REFUSAL.search(_one_line(error)) is not None


def _reason(error: object) -> str:
    """Return the reason of an error; of a refusal what to do."""
    text = _one_line(error)
    if (refusal := _REFUSAL.search(text)) is None:
        return text[:500]
    code = _CODE.search(text)
    reason = code[1] if code else refusal[0]
    return f"the store refuses access ({reason}). Look at the credentials, and at the policy of the bucket"


_REFUSAL = re.compile(r"40[13] (?:Forbidden|Unauthorized)|lacked the necessary privileges")
_CODE = re.compile(r"<Code>(\w+)</Code>")


def _one_line(error: object) -> str:
    """Return the text of an error in one line: the reason stands in the last of several, each with a colour."""
    return " ".join(re.sub(r"\x1b\[\d*m|\u21b3", "", str(error)).split())

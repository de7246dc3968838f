"""`mlv verify`: check that an experiment is complete and unchanged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.text import Text

from mlv import words
from mlv.audit.findings import VERDICTS, Finding, Report
from mlv.audit.verify import verify
from mlv.audit.verify_many import Judged, verify_many
from mlv.cli import urls
from mlv.cli.blocks import Rows
from mlv.cli.choose import logical_stream_of
from mlv.cli.screen import Screen, print_json, styled
from mlv.errors import InvalidArgument, MlvError


def run(path: Path, as_json: bool, expect: str | None = None) -> bool:
    """Print the verdict on an experiment or a single log file, with its findings; return whether it is `intact`.

    Raises:
        NotAnExperiment: The folder holds neither a meta.json nor a log.
        InvalidArgument: `expect` is no digest.
    """
    return show(verify(path.parent, expect, logical_stream_of(path)) if path.is_file() else verify(path, expect), as_json)


def run_url(url: str, as_json: bool, expect: str | None = None, on: str | None = None, *, with_files: bool = False) -> bool:
    """Print the verdict on the experiment at a URL, or on each below it; nothing is written to a disk.

    Raises:
        InvalidArgument, NotAnExperiment, BucketError, MissingExtra, TaskNotDone: As `verify_below`.
    """
    from mlv.bucket.verifying import verify_below  # experiments on a disk do without

    return _show_all(verify_below(url, expect, on, with_files=with_files), as_json)


def show(report: Report, as_json: bool) -> bool:
    """Print a report; return whether the verdict is `intact`."""
    _print(report, None if as_json else Screen())
    return report.verdict == "intact"


def run_many(folders: Sequence[Path], as_json: bool, expect: str | None, on: str | None, *, with_files: bool = False) -> bool:
    """Print the verdict on each experiment, and how many have it; return whether all are `intact`.

    Mirrors are judged by what lies in the bucket, as they lack the files that nobody opened.

    Raises:
        InvalidArgument: There is a digest to expect, which is that of one experiment; or `on` names no executor.
        MissingExtra, TaskNotDone: As `verify_many`.
    """
    if expect is not None:
        raise InvalidArgument(
            f"--expect is the digest of one experiment, and there are {len(folders)}: name one", expect=expect
        )
    return _show_all(_judged(folders, on, with_files), as_json)


def _show_all(results: Iterable[Judged], as_json: bool) -> bool:
    """Print the verdict on each experiment, and how many have it; return whether all are `intact`."""
    screen = None if as_json else Screen()
    counts: Counter[str] = Counter()
    for judged in results:
        counts[judged.report.verdict if judged.report is not None else _UNREADABLE] += 1
        if judged.report is not None:
            _print(judged.report, screen)
        elif screen is None:
            print_json({"path": str(judged.path), "error": judged.error})
        else:
            screen.show(styled(words.printable(f"{_UNREADABLE}  {judged.path}: {judged.error}"), "bold red"))
    if screen is not None and counts.total() > 1:
        numbers = ", ".join(f"{counts[name]} {name}" for name in (*VERDICTS, _UNREADABLE) if counts[name])
        screen.show(styled(f"{words.counted(counts.total(), 'experiment')}: {numbers}"))
    return set(counts) == {"intact"}


_UNREADABLE = "not read"


def _judged(folders: Sequence[Path], on: str | None, with_files: bool) -> Iterator[Judged]:
    """Yield the report on each experiment in their order."""
    addresses = {folder: urls.mirrored_url(folder) for folder in folders}
    own = verify_many([folder for folder, url in addresses.items() if url is None], on)
    for folder, url in addresses.items():
        yield next(own) if url is None else _judged_in_bucket(folder, url, with_files)


def _judged_in_bucket(folder: Path, url: str, with_files: bool) -> Judged:
    from mlv.bucket.verifying import verify_url  # experiments on a disk do without

    try:
        return Judged(folder, verify_url(url, with_files=with_files))
    except MlvError as error:
        return Judged(folder, None, str(error))


def _print(report: Report, screen: Screen | None) -> None:
    if screen is None:
        print_json(report.to_data())
        return
    screen.show(verdict(report))
    if report.findings:
        screen.show(findings(report))


def verdict(report: Report) -> Text:
    """Return the verdict, and how much was read."""
    looked_at = ", ".join(
        [
            f"{words.counted(report.lines, 'line')} of {words.counted(report.runs, 'run')}"
            f" in {words.counted(report.streams, 'stream')}",
            words.size(report.size_bytes),
            *([words.counted(report.attachments, "attachment")] if report.attachments else []),
        ]
    )
    identity = report.id[:8] if report.id else "no ID"
    style = words.VERDICT_STYLES[report.verdict]
    return Text.assemble(
        (report.verdict, style),
        "  ",
        styled(words.printable(str(report.path)), "bold"),
        f"  {identity}",
        (f"  {looked_at}", "dim"),
    )


def findings(report: Report) -> Rows:
    """Return each finding after its own verdict."""
    return Rows([_row(finding) for finding in report.findings])


def _row(finding: Finding) -> tuple[Text, Text]:
    text = styled(words.printable(finding.text))
    if finding.verdict == "intact":
        return styled("note", "dim"), text
    return styled(finding.verdict, words.VERDICT_STYLES[finding.verdict]), text

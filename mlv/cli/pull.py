"""`mlv pull`: bring the experiments of a bucket into a folder."""

from __future__ import annotations

from pathlib import Path

from mlv.audit.merge import merge
from mlv.bucket.mirror import Mirror, tell
from mlv.cli import merge as merge_
from mlv.cli import urls
from mlv.cli.choose import no_address
from mlv.cli.screen import progress_bar, say
from mlv.errors import InvalidArgument
from mlv.experiment.experiments import find


def run(url: str, dst: Path, *, where: str | None, files: bool, dry_run: bool, as_json: bool) -> bool:
    """Bring experiments up to date in a folder, print the changes, and return whether all is as it should be.

    Raises:
        InvalidArgument: It is no URL of a bucket, or the target is none of a folder.
        MlvError, OSError: As `Mirror.refresh`, `find` and `merge`.
    """
    address = urls.url_of(url)
    if address is None:
        raise InvalidArgument(f"URL {url!r} is no URL of a bucket: give one such as s3://lab/runs", url=url)
    no_address(dst, "DIR")
    mirror = Mirror(address)
    refreshed = mirror.refresh()
    notices = refreshed.notices
    chosen = refreshed.folders if where is None else find(mirror.folder, where=where, fresh=True).paths
    if not chosen:
        say(f"no experiment at or below {address!r} matches --where {where}")
        return True
    if files and not dry_run:
        with progress_bar("files", len(chosen)) as advance:
            for more in mirror.bring_all_files(chosen):
                notices += more
                advance(1)
    tell(notices)
    merged = merge(mirror.folder, dst, dry_run=dry_run, chosen=set(chosen))
    return merge_.show(merged, dst, dry_run=dry_run, as_json=as_json) and not notices

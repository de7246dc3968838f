"""`mlv export --to tensorboard` and the like: outputs of experiments, built from their logs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import sleep

from mlv.cli.choose import no_address
from mlv.cli.screen import progress, say
from mlv.cli.tail import Watch
from mlv.errors import InvalidArgument
from mlv.experiment import identity
from mlv.experiment.outputs import OUTPUTS, output_class
from mlv.projections.follower import follow as follow_
from mlv.projections.replaying import Replay, place_of

KINDS = tuple(name for name in OUTPUTS if name != "console")
_KEPT_S = 0.5


def run(root: Path, folders: Sequence[Path], to: str, out: Path | None, *, follow: bool) -> None:
    """Bring an output of each experiment up to its log, and with `follow` keep it so until no run goes on.

    Raises:
        InvalidArgument: There is no such output, or its folder holds that of another experiment; or several are to be followed.
        MissingExtra: A package is not installed.
    """
    if to not in KINDS:
        raise InvalidArgument(f"--to {to!r}: there is no such form; give {', '.join(KINDS)}, or jsonl", to=to)
    no_address(out, "--out")
    if follow and len(folders) > 1:
        raise InvalidArgument(f"--follow keeps the output of one experiment, not of {len(folders)}: name one", follow=follow)
    for folder in progress(folders, f"to {to}"):
        place = None if out is None else out if len(folders) == 1 else out / folder.absolute().relative_to(root.absolute())
        say(f"{_build(folder.absolute(), to, place, follow)}")


def _build(folder: Path, to: str, place: Path | None, follow: bool) -> Path:
    projection = output_class(to)(path=place)
    watch = Watch(folder, str(identity.read_meta(folder).content.get("created")))
    replay = Replay(folder, projection)
    try:
        while not replay.begin():
            if not follow or watch():
                say(f"a running process keeps the output {to!r} of {folder} up to date")
                return place_of(folder, projection)
            sleep(_KEPT_S)
        follow_(replay, watch if follow else lambda: True)
    finally:
        replay.close()
    return place_of(folder, projection)

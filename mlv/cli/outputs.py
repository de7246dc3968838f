"""`mlv export --to tensorboard` and other formats: outputs of experiments, built from their logs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from time import sleep
from typing import Any

from mlv.cli.choose import no_address, writing_to
from mlv.cli.screen import progress, say
from mlv.cli.tail import Watch
from mlv.errors import InvalidArgument, NotAnExperiment
from mlv.projections.follower import follow as follow_
from mlv.projections.outputs import output_class
from mlv.projections.registry import FORMS
from mlv.projections.replaying import Replay, folder_of
from mlv.query.sql.export import refuse_options_of_csv
from mlv.store import layout, meta
from mlv.store.mirrors import is_mirrored

_KEPT_S = 0.5


def run(labels: Mapping[Path, Path], to: str, out: Path | None, *, follow: bool, safe: bool = False, bom: bool = False) -> None:
    """Bring an output of each experiment up to its log, and with `follow` keep it so until no run goes on.

    Args:
        labels: Folders of the experiments, and the path of each below `out` where there are several.
        to: Name of the output.
        out: Folder of the output; by default each experiment keeps its own.
        follow: Whether to go on with what comes.
        safe: Whether texts in CSV that look like formulas are made harmless.
        bom: Whether CSV begins with the mark by which Excel knows UTF-8.

    Raises:
        InvalidArgument: There is no such output; its folder holds that of another experiment, or is an experiment or lies in
            another one; or several are to be followed.
        MissingExtra: A package is not installed.
    """
    if to not in FORMS:
        tables = "; `mlv dump` writes tables as JSON lines" if to == "jsonl" else ""
        raise InvalidArgument(f"--to {to!r}: there is no such output; give {', '.join(FORMS)}{tables}", to=to)
    no_address(out, "--out")
    refuse_options_of_csv(to, safe=safe, bom=bom)
    options = {name: True for name, is_set in (("safe", safe), ("bom", bom)) if is_set}
    if out is None and (mirrored := next(filter(is_mirrored, labels), None)) is not None:
        raise InvalidArgument(f"{str(mirrored)!r} mirrors an experiment in a bucket, and keeps no output: give --out DIR")
    if follow and len(labels) > 1:
        raise InvalidArgument(f"--follow keeps the output of one experiment, not of {len(labels)}: name one", follow=follow)
    outs = {folder: None if out is None else out if len(labels) == 1 else out / label for folder, label in labels.items()}
    for folder, path in outs.items():
        if path is not None:
            _refuse_experiment(path, folder)
    built = 0
    for folder in progress(list(labels), f"to {to}"):
        path = outs[folder]
        try:
            with writing_to(path) if out is not None and path is not None else nullcontext():
                say(f"{_build(layout.absolute(folder), to, path, follow, options)}")
            built += 1
        except (NotAnExperiment, PermissionError) as error:
            if not built and folder == list(labels)[-1]:
                raise
            say(f"{folder} is left out: {error}")
        except OSError:
            if len(labels) == 1 or layout.is_experiment(folder):
                raise
            say(f"{folder} was removed while it was read: it is left out")


def _refuse_experiment(out: Path, folder: Path) -> None:
    """Accept a folder for the output of an experiment: not its own one, nor one in another experiment.

    Raises:
        InvalidArgument: What lies there is an experiment's.
    """
    real = Path(os.path.realpath(out))
    around = real if layout.is_experiment(real) else layout.enclosing_experiment(real)
    if around is not None and (around == real or str(around) != os.path.realpath(folder)):
        raise InvalidArgument(f"--out {str(out)!r} lies in the experiment {around}: give a folder outside of it", out=str(out))


def _build(folder: Path, to: str, path: Path | None, follow: bool, options: Mapping[str, Any]) -> Path:
    projection = output_class(to)(path=path, **options)
    watch = Watch(folder, str(meta.read_meta(folder).content.get("created")))
    replay = Replay(folder, projection)
    try:
        while not replay.begin():
            if not follow or watch():
                say(f"a running process keeps the output {to!r} of {folder} up to date")
                return folder_of(folder, projection)
            sleep(_KEPT_S)
        if follow:
            follow_(replay, watch)
        else:  # a follower would look once more, a tenth of a second later
            replay.catch_up()
            replay.commit()
    finally:
        replay.close()
    if names := list(getattr(projection, "going_back", ())):
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        say(f"{folder}: steps of {names[0]!r}{more} go back, as does TensorBoard's line: Exp.open(rewind_to=) prevents it")
    return folder_of(folder, projection)

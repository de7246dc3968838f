"""Experiments from command-line arguments."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mlv import settings
from mlv.errors import InvalidArgument
from mlv.experiment.exp import Exp

if TYPE_CHECKING:  # a script with a parser has imported it
    from argparse import ArgumentParser, Namespace

_OWN = ("savedir", "exp_name", "exp_tags", "exp_notes", "on_exists")


def add_arguments_to(parser: ArgumentParser) -> None:
    """Add the options that say where an experiment goes: --savedir, --exp-name, --exp-tag, --exp-notes, --on-exists."""
    default = os.fspath(settings.DIR.get())
    group = parser.add_argument_group("experiment")
    group.add_argument("--savedir", default=default, metavar="DIR", help="folder for experiments (default: %(default)s)")
    group.add_argument("--exp-name", default=None, metavar="NAME", help="name of the experiment (default: the local time)")
    group.add_argument(
        "--exp-tag", action="append", default=[], dest="exp_tags", metavar="TAG", help="a word to find it by; may be repeated"
    )
    group.add_argument("--exp-notes", default=None, metavar="TEXT", help="a text for people")
    group.add_argument(
        "--on-exists", choices=("suffix", "open", "error"), default="suffix", help="if the name is taken (default: %(default)s)"
    )


def exp_from_args(
    args: Namespace,
    kind: str | None = None,
    args_to_ignore: Collection[str] = (),
    params: Mapping[str, Any] | None = None,
    *,
    outputs: Iterable[Any] = (),
    ranks: str = "main",
) -> Exp:
    """Make the experiment that the options of `add_arguments_to` describe; all other arguments are its params.

    Args:
        args: What the parser gave.
        kind: As in `Exp`.
        args_to_ignore: Arguments that are no params, such as `verbose`.
        params: More params; they win over arguments of the same name.
        outputs: As in `Exp`.
        ranks: As in `Exp`.

    Raises:
        InvalidArgument: `args_to_ignore` is one text.
        MlvError: As `Exp`.
    """
    if isinstance(args_to_ignore, str):
        text = f"args_to_ignore={args_to_ignore!r} is one text: give a list, [{args_to_ignore!r}]"
        raise InvalidArgument(text, args_to_ignore=args_to_ignore)
    values = vars(args)
    ignored = {*_OWN, *args_to_ignore}
    settings = {key: value for key, value in values.items() if key not in ignored}
    return Exp(
        values.get("savedir"),
        values.get("exp_name"),
        {**settings, **(params or {})},
        kind=kind,
        tags=values.get("exp_tags", ()),
        notes=values.get("exp_notes"),
        outputs=outputs,
        ranks=ranks,
        on_exists=values.get("on_exists", "suffix"),
    )

"""The application that commands register with: their order in the help, their errors and their exit status."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Callable
from inspect import cleandoc
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandFunctionType

from mlv.errors import MlvError, MlvWarning

_ADVICE = {
    errno.EACCES: "Give yourself the right to it (chmod, chown), or run this as its owner",
    errno.EPERM: "Give yourself the right to it (chmod, chown), or run this as its owner",
    errno.EROFS: "Its file system takes no changes: name a path on another one",
    errno.ENOSPC: "Make room there, or name a path on another file system",
    errno.EDQUOT: "Make room there, or name a path on another file system",
}
"""The way out of an error of the system, behind its own words."""
NOT_WELL, _ERROR, _INTERRUPTED, _PIPE = 1, 2, 130, 141


_BY_USE = (
    "ls", "ui", "run", "show", "summary", "tail", "compare", "plot", "sql", "export", "dump",
    "tag", "untag", "note", "archive", "unarchive", "mv", "rm", "import",
    "verify", "recover", "whence", "merge", "push", "pull", "redact", "lake", "doctor",
)  # fmt: skip
"""The order of the commands in the help; any other command comes last."""


class CommandGroup(TyperGroup):
    """Commands below one command, without a type behind flags."""

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters, without a type behind flags."""
        return _without_types(super().get_params(ctx))


class _Commands(CommandGroup):
    """The commands, with every error of theirs as one line on stderr and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        warnings.showwarning = _warn_like_errors(warnings.showwarning)
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:  # `mlv ls | head`: Python must not flush into the closed pipe at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(_PIPE) from None
        except KeyboardInterrupt:
            raise typer.Exit(_INTERRUPTED) from None
        except MlvError as error:
            _complain(str(error))
        except OSError as error:
            about = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
            advice = _ADVICE.get(error.errno or 0)
            _complain(f"{about}. {advice}" if advice else about)
        raise typer.Exit(_ERROR)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands, the most used first."""
        return sorted(self.commands, key=lambda name: _BY_USE.index(name) if name in _BY_USE else len(_BY_USE))


class _PlainCommand(TyperCommand):
    """A command whose help has no `<bool>` behind flags and no braces around arguments: newer versions of typer add both."""

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters, without a type behind flags."""
        return _without_types(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line."""
        return [word.replace("{", "").replace("}", "") for word in super().collect_usage_pieces(ctx)]


def _without_types(params: Any) -> Any:
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params


class App(typer.Typer):
    """An application whose commands are of the class `_PlainCommand`, each with its function's docstring as help."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[CommandFunctionType], CommandFunctionType]:
        """Register a command."""

        def register(function: CommandFunctionType) -> CommandFunctionType:
            # typer would keep the line breaks of the source within a paragraph.
            paragraphs = cleandoc(function.__doc__ or "").split("\n\n")
            text = "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)
            return super(App, self).command(name, cls=_PlainCommand, help=text, **options)(function)

        return register


def _warn_like_errors(usual: Callable[..., None]) -> Callable[..., None]:
    """Return a hook that prints warnings of mlv as its errors: a source line helps nobody who typed a command."""

    def show(message: Any, category: type[Warning], *location: Any, **options: Any) -> None:
        if issubclass(category, MlvWarning):
            _complain(str(message))
        else:
            usual(message, category, *location, **options)

    return show


def _complain(text: str) -> None:
    from mlv.words import printable  # the other commands do without

    sys.stdout.flush()
    line = printable(text, keep="\n")
    print(f"mlv: {line}", file=sys.stderr)


app = App(
    cls=_Commands,
    help="Experiments in plain files: list, read, follow and verify them.",
    epilog="EXP is a path, the beginning of an ID (four digits or more), or a name below --root.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(is_requested: bool) -> None:
    if is_requested:
        from mlv import __version__  # the other commands do without

        print(f"mlv {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Set up the output streams for every command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a file's name may hold what the terminal cannot show

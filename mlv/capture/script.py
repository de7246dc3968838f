"""The running script: where it lies, how it was called, and by which Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from mlv.capture.redaction import Redactor, printable


def capture_script(
    argv: Sequence[str] | None = None,
    redactor: Redactor | None = None,
    *,
    main: ModuleType | None = None,
    orig_argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Describe the running script; each argument defaults to this process's own.

    Returns:
        `kind` (script, module, command, stdin, notebook or interactive), `path` (None where no file holds the code),
        `argv`, `orig_argv` (as the operating system was given it: it shows `python -m` and flags), `cwd`, `python`,
        and if they are known `module` and `notebook`. Credentials on the command line are redacted.
    """
    redactor = redactor if redactor is not None else Redactor()
    argv = sys.argv if argv is None else argv
    main = sys.modules.get("__main__") if main is None else main
    kind = _kind(main, argv)
    record: dict[str, Any] = {"kind": kind, "path": _path(main) if kind in ("script", "module") else None}
    if kind == "module":
        record["module"] = _module_name(main)
    if kind == "notebook" and (notebook := _notebook(main, os.environ if environ is None else environ)):
        record["notebook"] = notebook
    return {
        **redactor.tree(record, "script"),
        "argv": redactor.argv([str(word) for word in argv]),
        "orig_argv": redactor.argv(sys.orig_argv if orig_argv is None else orig_argv, "script.orig_argv"),
        "cwd": redactor.tree(_cwd(), "script.cwd"),
        "python": redactor.tree(_python(), "script.python"),
    }


def _kind(main: ModuleType | None, argv: Sequence[str]) -> str:
    file, program = getattr(main, "__file__", None), argv[0] if argv else ""
    if _is_in_kernel():
        return "notebook"
    if _module_name(main) is not None:
        return "module"
    if program == "-c":
        return "command"
    if hasattr(sys, "ps1"):
        return "interactive"
    # This is the name that Python gives to a program that it reads from standard input.
    if file == "<stdin>" or program == "-":
        return "stdin"
    return "script" if file else "interactive"


def _is_in_kernel() -> bool:
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return getattr(get_ipython() if get_ipython else None, "kernel", None) is not None


def _module_name(main: ModuleType | None) -> str | None:
    """Name the module of `python -m`; a folder or archive given to Python has a spec as well, but no name."""
    name = getattr(getattr(main, "__spec__", None), "name", None)
    return None if name in (None, "__main__") else str(name).removesuffix(".__main__")


def _path(main: ModuleType | None) -> str | None:
    file = getattr(main, "__file__", None)
    return printable(os.path.abspath(file)) if file else None


def _notebook(main: ModuleType | None, environ: Mapping[str, str]) -> str | None:
    # VS Code tells the notebook's path in the user's own namespace, Jupyter in the environment of the kernel.
    name = vars(main).get("__vsc_ipynb_file__") if main else None
    return printable(str(name or environ.get("JPY_SESSION_NAME") or "")) or None


def _cwd() -> str | None:
    try:
        return printable(os.getcwd())
    except OSError:  # The folder was deleted under the process.
        return None


def _python() -> dict[str, str]:
    return {
        "version": sys.version.split()[0],
        "implementation": sys.implementation.name,
        "executable": printable(sys.executable or ""),
    }

"""The interpreter, started anew with the modules of this process."""

from __future__ import annotations

import os
import sys

OUR_MLV = """
import sys
from importlib.util import module_from_spec, spec_from_file_location
sys.path.extend(PATH)
spec = spec_from_file_location("mlv", PATH[-1] + "/mlv/__init__.py", submodule_search_locations=[PATH[-1] + "/mlv"])
sys.modules["mlv"] = module_from_spec(spec)
spec.loader.exec_module(sys.modules["mlv"])
"""
"""Imports the mlv of the process that starts this one, with the modules that it found: `PATH` is its `module_path()`.

By its file: the folder that it lies in may hold other modules, and comes last; another mlv may be installed as well.
"""


def command(program: str) -> list[str]:
    """Return the command that runs a program in a new interpreter, once that has imported our mlv."""
    # Without site: it starts sooner, and no `.pth` file of the user's runs.
    return [sys.executable, "-I", "-S", "-c", f"import sys\nPATH = sys.argv[1:]\n{OUR_MLV}{program}", *module_path()]


def module_path() -> list[str]:
    """Return the folders that this process imports from, without the current one and the script's; mlv's own last."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    unwanted = {os.getcwd() if _has_cwd() else "", "", os.path.dirname(os.path.abspath(main)) if main else ""}
    return [*(path for path in sys.path if os.path.abspath(path or ".") not in unwanted and path), package]


def _has_cwd() -> bool:
    try:
        os.getcwd()
        return True
    except OSError:
        return False


def is_available() -> bool:
    """Return whether this process runs in an interpreter, and not in another program that has Python within."""
    program = os.path.basename(sys.executable or "").lower()
    return "python" in program or "pypy" in program

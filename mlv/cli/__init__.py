"""The command line: `mlv`, or `python -m mlv`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command in `sys.argv`, and exit: 0 for success, 1 when an examined experiment is not well, 2 for an error."""
    try:
        from mlv.cli.app import app  # `import mlv.cli` does without

        app(prog_name="mlv")
    except KeyboardInterrupt:
        sys.exit(130)

"""`python -m mlv.compat.wandb sweep FILE` and `... agent ID`: the commands of wandb that begin sweeps and serve them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mlv import MlvError
from mlv.compat.wandb.config import content_of
from mlv.compat.wandb.sweeps.agent import agent, sweep


def main(words: Sequence[str]) -> int:
    """Run a command; return its exit status."""
    options = _parser().parse_args(words)
    try:
        if options.command == "sweep":
            config = content_of(options.file)
            sweep({**config, "name": options.name} if options.name else config, options.entity, options.project)
        else:
            agent(options.sweep_id, None, options.entity, options.project, options.count, options.forward_signals)
    except (MlvError, OSError) as error:
        print(f"wandb: ERROR {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m mlv.compat.wandb", description="Sweeps of wandb, in plain files.")
    commands = parser.add_subparsers(dest="command", required=True)
    begin = commands.add_parser("sweep", help="begin a sweep, and print its ID")
    begin.add_argument("file", help="its config, as YAML or JSON")
    begin.add_argument("--name", help="of the sweep")
    serve = commands.add_parser("agent", help="run the program of a sweep for its points")
    serve.add_argument("sweep_id", help="with the project in front, or --project")
    serve.add_argument("--count", type=int, help="points to try at most")
    serve.add_argument("--forward-signals", action="store_true", help="send SIGINT and SIGTERM on to the program")
    for command in (begin, serve):
        command.add_argument("-p", "--project", help="that the runs belong to")
        command.add_argument("-e", "--entity", help="that they belong to")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The command line: the application, with every command registered."""

from mlv.cli.application import app as app
from mlv.cli.commands import analysis, integrity, reading, scripts, upkeep  # noqa: F401 - to import them is to register their commands

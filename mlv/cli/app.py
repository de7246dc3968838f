"""The command line: the application, with every command registered, which importing its module does."""

from mlv.cli.application import app as app
from mlv.cli.commands import analysis, importing, integrity, lake, reading, scripts, shipping, upkeep  # noqa: F401

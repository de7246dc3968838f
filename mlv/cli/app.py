"""The command line: the application, with every command registered."""

from mlv.cli.application import app as app
from mlv.cli.commands import (  # noqa: F401 - to import them is to register their commands
    analysis,
    importing,
    integrity,
    reading,
    scripts,
    upkeep,
)

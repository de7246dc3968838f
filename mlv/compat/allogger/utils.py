"""The environment that a script runs in, as lines of its log."""

from __future__ import annotations

import logging
import os
import sys
from getpass import getuser
from socket import gethostname

from mlv.compat.allogger.logger import get_logger


def report_env(to_stdout: bool = False) -> None:
    """Log host, user, branch and commit of the script's git repository, and the logdir; to the console as well if asked to."""
    logger = get_logger("env", basic_logging_params={"level": logging.WARNING})
    lines = [f"Running on {gethostname()} as {_user()}", _git_state(_script_folder())]
    for line in (*lines, f"Saving data to {logger.logdir}"):
        if to_stdout:
            print(line)
        logger.info(line)


def _user() -> str:
    try:
        return getuser()
    except (OSError, KeyError):  # a container may run under a number that has no name
        return str(os.getuid())


def _script_folder() -> str:
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    return os.path.dirname(os.path.abspath(script)) if script else os.getcwd()


def _git_state(folder: str) -> str:
    import git

    try:
        with git.Repo(folder, search_parent_directories=True) as repo:
            commit = repo.head.commit.hexsha[:6]
            where = "a detached HEAD" if repo.head.is_detached else f"branch {repo.active_branch}"
            return f"We are on {where} using commit {commit}"
    except git.InvalidGitRepositoryError:
        return f"{folder} is not a git repo"
    except (git.GitError, ValueError, OSError) as error:  # no commit yet, or a repository of another user
        return f"The git repo of {folder} cannot be described: {error}"

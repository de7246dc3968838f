"""The git repository that a script lies in: its commit, and the differences from it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from mlv.capture.redaction import Redactor, printable


@dataclass(frozen=True)
class GitCapture:
    """The state of the git repository around the folder of a script."""

    record: dict[str, Any]
    """For `meta["git"]`; `{"repository": False}` outside of any repository. `error` gives the reason for missing fields."""
    diff: bytes | None
    """How tracked files differ from the commit, for `git apply`; None if they do not."""


def capture_git(
    start: Path,
    *,
    redactor: Redactor,
    diff_cap_bytes: int = 10 * 2**20,
    timeout_s: float = 5.0,
    max_untracked: int = 1000,
    environ: Mapping[str, str] | None = None,
) -> GitCapture:
    """Describe the repository around a folder, without a lock on its index or a visit to its remotes.

    Of the programs that a repository can name, only its filters are run (such as Git LFS): they belong to the question
    whether a file has changed. Hooks, monitors, pagers and other viewers of differences are not.

    Args:
        start: The folder of the script. Variables such as `GIT_DIR`, which may name another repository, do not count.
        redactor: Takes credentials out of the remotes, the message and the diff, and remembers where.
        diff_cap_bytes: How much of the diff is kept; it is cut at the end of a line, and a last line says so.
        timeout_s: How long all git commands together may take; output that comes later is missing.
        max_untracked: How many untracked names are kept; `untracked_truncated` counts the others.
        environ: The environment for git; that of this process by default.
    """
    environ = os.environ if environ is None else environ
    try:
        answers = _ask(start.resolve(), diff_cap_bytes, timeout_s, environ)
        if answers is None:
            return GitCapture({"repository": False}, None)
        diff = _redacted_diff(answers.diff, redactor) if answers.diff.size_bytes else None
        return GitCapture(_record(answers, diff, redactor, max_untracked), diff)
    except Exception as error:  # However strange a repository is, the experiment starts.
        return GitCapture({"error": redactor.text(f"{type(error).__name__}: {error}", "git.error")}, None)


class _Answer(NamedTuple):
    """The output of one git command, up to its end or to the deadline."""

    output: bytes = b""
    """The beginning of the output, up to a cap."""
    size_bytes: int = 0
    """The size of the whole output."""
    error: str | None = None
    """Git's own words if it failed, or that the time was over: then the output may not be whole."""
    is_late: bool = False


class _Answers(NamedTuple):
    """The answers of git and GitPython from which a record is made."""

    facts: dict[str, Any]
    """The folder and the remotes of the repository, and its head where GitPython read that from the files."""
    log: _Answer
    status: _Answer
    diff: _Answer
    trouble: str | None
    """Why GitPython could not read the facts."""


# --- Asking ----------------------------------------------------------------------------------------------------------


_GIT = ("--no-pager", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
_ROOT = (*_GIT, "rev-parse", "--show-toplevel")
_REMOTES = (
    # The first key is in every repository: without a match git would say that it failed.
    *(*_GIT, "config", "--local", "--includes", "--null", "--get-regexp"),
    r"^(core\.repositoryformatversion|remote\..*\.url)$",
)
_LOG = (*_GIT, "rev-list", "--max-count=1", "--encoding=UTF-8", "--format=%an%x00%ae%x00%ct%x00%B", "HEAD", "--")
_STATUS = (
    *(*_GIT, "status", "--porcelain=v2", "--branch", "--no-ahead-behind", "-z", "--untracked-files=normal"),
    # An untracked file in a submodule is no change of this repository.
    "--ignore-submodules=untracked",
)
_DIFF = (
    # The user's settings may give a diff forms that `git apply` does not take: here it always has the plain one.
    *(*_GIT, "-c", "diff.relative=false", "-c", "diff.suppressBlankEmpty=false"),
    # Where only the time of a file differs, `git diff` would write the index, whatever GIT_OPTIONAL_LOCKS says.
    *("-c", "diff.autoRefreshIndex=false", "diff", "--no-ext-diff"),
    *("--no-textconv", "--no-color", "--full-index", "--src-prefix=a/", "--dst-prefix=b/", "--unified=3"),
    *("--inter-hunk-context=0", "--submodule=short", "--ignore-submodules=untracked", "HEAD", "--"),
)


def _ask(start: Path, diff_cap_bytes: int, timeout_s: float, environ: Mapping[str, str]) -> _Answers | None:
    """Ask git, and GitPython for the facts that git leaves open; None outside of a repository."""
    if not start.is_dir():
        return _answers_without_git({}, f"there is no folder {start}", None)
    deadline_s = time.monotonic() + timeout_s
    with ExitStack() as stack:

        def asked(words: Sequence[str], cap_bytes: int) -> _Command:
            return stack.enter_context(_Command(words, start, environ, cap_bytes, timeout_s, deadline_s))

        try:
            log, status, diff = asked(_LOG, 2**20), asked(_STATUS, 64 * 2**20), asked(_DIFF, diff_cap_bytes)
            logged = log.answer()
            if logged.error and "not a git repository (or any" in logged.error:
                return None
            if logged.is_late:  # the time of all is over: a git that hangs would do so once more for each question
                return _Answers({}, logged, status.answer(), diff.answer(), trouble=None)
            root, remotes = asked(_ROOT, 2**16), asked(_REMOTES, 2**20)
        except OSError as error:
            return _ask_without_git(start, error)
        facts, trouble = _facts_of_git(root.answer(), remotes.answer()), None
        state = status.answer()
        # To import GitPython takes more processor time than all of this, and runs `git version` without a deadline: so it
        # is asked only where git left something open, and answers at all.
        if facts is None or state.error:
            read, trouble = _facts(start, git_works=True)
            facts = read or facts
        return _Answers(facts or {}, logged, state, diff.answer(), trouble)


def _ask_without_git(start: Path, error: OSError) -> _Answers | None:
    facts, trouble = _facts(start, git_works=False)
    if facts is None and trouble is None:
        return None
    is_absent = isinstance(error, FileNotFoundError)
    reason = "git is not installed: there is no program 'git' on the PATH" if is_absent else f"git cannot run: {error}"
    return _answers_without_git(facts or {}, reason, trouble)


def _answers_without_git(facts: dict[str, Any], reason: str, trouble: str | None) -> _Answers:
    nothing = _Answer(error=reason)
    return _Answers(facts, log=nothing, status=nothing, diff=nothing, trouble=trouble)


class _Command:
    """A git command under way; at the end of the `with` it is gone."""

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        environ: Mapping[str, str],
        cap_bytes: int,
        timeout_s: float,
        deadline_s: float,
    ) -> None:
        self._name = next(f"git {word}" for word in words if word in ("rev-list", "status", "diff", "rev-parse", "config"))
        self._timeout_s = timeout_s
        self._deadline_s = deadline_s
        self._process = subprocess.Popen(
            # GitPython looks there as well.
            [environ.get("GIT_PYTHON_GIT_EXECUTABLE") or "git", *words],
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=_environment(environ),
            # A group of its own: a filter that git has started ends with it. And no terminal to ask for a password on.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._output = _PipeReader(self._process.stdout, cap_bytes)
        self._errors = _PipeReader(self._process.stderr, 2**14)

    def __enter__(self) -> _Command:
        self._output.start()
        self._errors.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._is_running():
            self._kill()
        self._wait(until_s=time.monotonic() + 1)

    def answer(self) -> _Answer:
        """Wait for the end of the command, or for the deadline and then end it."""
        is_late = not self._wait(until_s=self._deadline_s)
        if is_late:
            self._kill()
            self._wait(until_s=time.monotonic() + 1)
        error = f"{self._name} took longer than {self._timeout_s:g} s" if is_late else self._failure()
        return _Answer(bytes(self._output.head), self._output.size_bytes, error, is_late)

    def _wait(self, *, until_s: float) -> bool:
        for reader in (self._output, self._errors):
            reader.join(max(0.0, until_s - time.monotonic()))
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, until_s - time.monotonic()))
        return not self._is_running()

    def _is_running(self) -> bool:
        # A program that git started may hold the pipes beyond git's own end.
        return self._process.poll() is None or self._output.is_alive() or self._errors.is_alive()

    def _kill(self) -> None:
        with suppress(OSError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)

    def _failure(self) -> str | None:
        if self._process.returncode == 0:
            return None
        words = printable(self._errors.head.decode(errors="replace")).strip().removeprefix("fatal: ")
        return f"{self._name}: {words or f'exit status {self._process.returncode}'}"


class _PipeReader(threading.Thread):
    """Reads a pipe to its end, keeps the head of its output and only counts the bytes behind."""

    def __init__(self, pipe: IO[bytes], cap_bytes: int) -> None:
        # Should the pipe never end, this thread must not keep the process alive.
        super().__init__(name="mlv-git", daemon=True)
        self._pipe = pipe
        self._cap_bytes = cap_bytes
        self.head = bytearray()
        self.size_bytes = 0

    def run(self) -> None:
        with self._pipe:
            while chunk := self._pipe.read(2**16):
                self.head += chunk[: max(0, self._cap_bytes - len(self.head))]
                self.size_bytes += len(chunk)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    prefixes = ("GIT_CONFIG", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM", "GIT_EXEC_PATH", "GIT_TEST_")
    return {
        **{name: value for name, value in environ.items() if not name.startswith("GIT_") or name.startswith(prefixes)},
        # English, so that the answer for "no repository" is known; UTF-8, for filters that are Python programs.
        "LC_ALL": "C.UTF-8",
        "LANGUAGE": "C",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        # A partial clone would fetch missing objects from its remote, which can take for ever.
        "GIT_ALLOW_PROTOCOL": "none",
    }


def _facts_of_git(root: _Answer, remotes: _Answer) -> dict[str, Any] | None:
    """Return the facts in git's own answers; None where one is missing, as in a bare repository."""
    if root.error or remotes.error:
        return None
    pairs = (entry.partition("\n") for entry in _text(remotes.output).split("\0"))
    urls = {key.removeprefix("remote.").removesuffix(".url"): url for key, _, url in pairs if key.startswith("remote.")}
    return {"root": _text(root.output).removesuffix("\n"), "remotes": urls}


def _text(output: bytes) -> str:
    return printable(os.fsdecode(output))


def _facts(start: Path, *, git_works: bool) -> tuple[dict[str, Any] | None, str | None]:
    """Let GitPython read the repository's files, which needs no git; None outside of a repository, or trouble."""
    try:
        with _gitpython(git_works=git_works) as git:
            try:
                repo = git.Repo(start, search_parent_directories=True, expand_vars=False)
            except (git.InvalidGitRepositoryError, git.NoSuchPathError):
                return None, None
            with repo:
                return _facts_of(repo), None
    except Exception as error:  # A foreign library over foreign files: git itself may still answer.
        return None, f"GitPython: {type(error).__name__}: {error}"


@contextmanager
def _gitpython(*, git_works: bool) -> Iterator[Any]:
    if git_works or "git" in sys.modules:
        import git

        yield git
        return
    # GitPython refuses to be imported where there is no git, unless asked to be quiet. A later import must meet the
    # usual behaviour: so all traces go.
    name = "GIT_PYTHON_REFRESH"
    before = os.environ.get(name)
    os.environ[name] = "quiet"
    try:
        import git

        yield git
    finally:
        os.environ.pop(name)
        os.environ.update({name: before} if before is not None else {})
        for module in [module for module in sys.modules if module == "git" or module.startswith("git.")]:
            del sys.modules[module]


def _facts_of(repo: Any) -> dict[str, Any]:
    try:
        commit = repo.head.dereference_recursive(repo, "HEAD")
    except ValueError:  # There is none yet.
        commit = None
    return {
        "root": printable(str(repo.working_tree_dir or repo.git_dir)),
        **({"bare": True} if repo.bare else {}),
        **_head(commit, None if repo.head.is_detached else repo.head.reference.name),
        "remotes": _remotes(repo.config_reader("repository")),
    }


def _remotes(config: Any) -> dict[str, str]:
    names = [section for section in config.sections() if section.startswith('remote "')]
    # The line may lack the `=`: git refuses the repository for it, and here it is a key without a value.
    return {name[8:-1]: url for name in names if (url := config.get(name, "url", fallback=None)) is not None}


# --- Recording -------------------------------------------------------------------------------------------------------


_ORDER = (
    *("root", "bare", "commit", "no_commits", "branch", "detached", "author", "date", "message", "remotes"),
    *("dirty", "untracked", "untracked_truncated", "diff", "error"),
)


def _record(answers: _Answers, diff: bytes | None, redactor: Redactor, max_untracked: int) -> dict[str, Any]:
    # Where two have an answer, git's own comes last and counts.
    record = {**answers.facts, **_from_diff(answers.diff, diff), **_from_log(answers.log)}
    record.update(_from_status(answers.status, max_untracked))
    if "remotes" in record:
        record["remotes"] = {name: redactor.url(url, f"git.remotes.{name}") for name, url in record["remotes"].items()}
    if record.get("commit", "") is None:
        record["no_commits"] = True
    if error := _error(answers, record):
        record["error"] = error
    ordered = {key: record[key] for key in _ORDER if key in record}
    redacted: dict[str, Any] = redactor.tree(ordered, "git")
    return redacted


def _head(commit: str | None, branch: str | None) -> dict[str, Any]:
    return {"commit": commit, "branch": branch, "detached": branch is None}


def _from_log(log: _Answer) -> dict[str, Any]:
    if log.error or not log.output:
        return {}
    first, _, fields = log.output.decode(errors="replace").partition("\n")
    name, email, committed_s, message = fields.split("\0", 3)
    return {
        "commit": first.removeprefix("commit "),
        "author": {"name": name, "email": email},
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(committed_s))),
        "message": message.rstrip("\n"),
    }


def _from_status(status: _Answer, max_untracked: int) -> dict[str, Any]:
    """Read the output of `git status --porcelain=v2 --branch -z`."""
    if status.error or not status.output:
        return {}
    headers, changes, untracked = {}, 0, []
    entries = iter(_text(status.output).split("\0"))
    for entry in entries:
        kind, _, body = entry.partition(" ")
        if kind == "#":
            name, _, value = body.partition(" ")
            headers[name] = value
        elif kind == "?":
            untracked.append(body)
        elif kind:
            changes += 1
            if kind == "2":  # A renamed file, followed by its old name as an entry without a kind.
                next(entries, None)
    commit, branch = headers["branch.oid"], headers["branch.head"]
    left_out = len(untracked) - max_untracked
    return {
        **_head(None if commit == "(initial)" else commit, None if branch == "(detached)" else branch),
        "dirty": changes > 0,
        "untracked": untracked[:max_untracked],
        **({"untracked_truncated": left_out} if left_out > 0 else {}),
    }


def _from_diff(answer: _Answer, diff: bytes | None) -> dict[str, Any]:
    if diff is None:
        return {} if answer.error else {"dirty": False}
    excerpt = _whole_lines(answer)
    sizes = {"bytes": answer.size_bytes, "kept_bytes": len(excerpt), "truncated": not _is_whole(answer)}
    return {"dirty": True, "diff": {**sizes, "redacted": not diff.startswith(excerpt)}}


def _error(answers: _Answers, record: Mapping[str, Any]) -> str | None:
    # A bare repository has no files to compare, and without a commit there is nothing to compare them with.
    is_expected = {"status": "bare" in record, "diff": "bare" in record, "log": "no_commits" in record}
    is_expected["diff"] |= "no_commits" in record
    outputs = {"log": answers.log, "status": answers.status, "diff": answers.diff}
    errors = [answer.error for name, answer in outputs.items() if answer.error and not is_expected[name]]
    # One trouble is mostly the trouble of all three; the first is enough.
    return "; ".join(filter(None, [*errors[:1], answers.trouble])) or None


def _redacted_diff(answer: _Answer, redactor: Redactor) -> bytes:
    excerpt = _whole_lines(answer)
    text = redactor.source(excerpt.decode("utf-8", "surrogateescape"), "git.diff")
    diff = text.encode("utf-8", "surrogateescape")
    if _is_whole(answer):
        return diff
    at_least = b"at least " if answer.error else b""
    return diff + b"# mlv: cut here, after %d of %s%d bytes\n" % (len(excerpt), at_least, answer.size_bytes)


def _whole_lines(answer: _Answer) -> bytes:
    return answer.output if _is_whole(answer) else answer.output[: answer.output.rfind(b"\n") + 1]


def _is_whole(answer: _Answer) -> bool:
    return len(answer.output) == answer.size_bytes and not answer.error

"""What is recorded about the repository of a script, in every state that a repository can be in."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import textwrap
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import mlv
from mlv.capture.git import GitCapture, capture_git
from mlv.capture.redaction import Redactor

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

ENVIRON = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
}
BYTES_NOT_UTF8 = b"caf\xe9 \xff\n"


class Repository:
    """A real repository, on which real git commands are run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def git(self, *words: object, **environ: str) -> str:
        command = ["git", *map(str, words)]
        author = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in WHO.items()}
        result = subprocess.run(
            command, cwd=self.path, env={**ENVIRON, **author, **environ}, capture_output=True, timeout=30, check=True
        )
        return result.stdout.decode(errors="surrogateescape").strip()

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def commit(self, message: str = "First") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def capture(self, folder: str = ".", **options: Any) -> GitCapture:
        return captured(self.path / folder, **options)


WHO = {"NAME": "Ada Lovelace", "EMAIL": "ada@example.org", "DATE": "2026-11-21T03:04:05+02:00"}


def captured(folder: Path, *, redactor: Redactor | None = None, **options: Any) -> GitCapture:
    options = {"environ": ENVIRON, "timeout_s": 30.0, **options}
    result = capture_git(folder, redactor=redactor or Redactor(), **options)
    json.dumps(result.record, ensure_ascii=False).encode()
    return result


@pytest.fixture
def new(tmp_path: Path) -> Callable[..., Repository]:
    """Make repositories in the test's folder."""

    def make(name: str = "work", *options: str) -> Repository:
        repository = Repository(tmp_path / name)
        repository.path.mkdir()
        repository.git("init", "--quiet", "--initial-branch=main", *options)
        return repository

    return make


@pytest.fixture
def repository(new: Callable[..., Repository]) -> Repository:
    """A repository with one commit of two files."""
    repository = new()
    repository.write("train.py", "lr = 0.1\nepochs = 3\n")
    repository.write("nets/unet.py", "depth = 4\n")
    repository.commit()
    return repository


@pytest.fixture
def new_copy(new: Callable[..., Repository]) -> Callable[[], Repository]:
    """Make an empty repository, in which to apply what was recorded of another."""
    return lambda: new("copy")


# --- The states of a repository --------------------------------------------------------------------------------------


def test_clean(repository):
    """A clean repository is its commit, and there is no diff."""
    capture = repository.capture()

    assert capture.diff is None
    assert capture.record == {
        "root": str(repository.path),
        "commit": repository.git("rev-parse", "HEAD"),
        "branch": "main",
        "detached": False,
        "author": {"name": "Ada Lovelace", "email": "ada@example.org"},
        "date": "2026-11-21T01:04:05Z",
        "message": "First",
        "remotes": {},
        "dirty": False,
        "untracked": [],
    }


def test_dirty(repository, new_copy):
    """The commit and the diff together are the code that ran."""
    repository.write("train.py", "lr = 0.2\nepochs = 3\n")
    repository.write("staged.py", "x = 1\n")
    repository.git("add", "staged.py")
    (repository.path / "nets/unet.py").unlink()

    capture = repository.capture()

    assert capture.record["dirty"] is True
    assert capture.record["diff"] == {
        "bytes": len(capture.diff),
        "kept_bytes": len(capture.diff),
        "truncated": False,
        "redacted": False,
    }
    copy = applied(capture, repository, new_copy())
    assert (copy / "train.py").read_text() == "lr = 0.2\nepochs = 3\n"
    assert (copy / "staged.py").read_text() == "x = 1\n"
    assert not (copy / "nets/unet.py").exists()


def applied(capture: GitCapture, source: Repository, target: Repository) -> Path:
    """Check out the recorded commit and apply the recorded diff, as a reader would."""
    target.git("pull", "--quiet", source.path, "HEAD")
    target.git("checkout", "--quiet", capture.record["commit"])
    target.git("apply", target.write("../recorded.diff", capture.diff))
    return target.path


@pytest.mark.parametrize(
    "settings",
    [
        {"diff.noprefix": "true"},
        {"diff.mnemonicPrefix": "true"},
        {"diff.external": "false"},
        {"color.ui": "always", "color.diff": "always"},
        {"diff.context": "0", "diff.interHunkContext": "5"},
        {"diff.relative": "true"},
        {"diff.submodule": "log"},
        {"diff.suppressBlankEmpty": "true"},
        {"diff.renames": "copies", "diff.algorithm": "histogram"},
        {"core.pager": "false", "pager.diff": "true", "pager.status": "true"},
        {"status.showUntrackedFiles": "no", "status.relativePaths": "true", "status.branch": "false"},
        {"log.showSignature": "true", "format.pretty": "oneline", "i18n.logOutputEncoding": "latin1"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_of_the_user_change_nothing(repository, new_copy, settings):
    """However a user likes to see differences, the recorded diff is the plain one that `git apply` takes."""
    repository.commit("Zweite Fassung: größer")
    for name, value in settings.items():
        repository.git("config", name, value)
    repository.write("train.py", "lr = 0.2\n\nepochs = 3\n")
    repository.write("nets/unet.py", "depth = 5\n")
    repository.write("new.txt", "")

    capture = repository.capture("nets")

    assert "error" not in capture.record
    assert capture.record["message"] == "Zweite Fassung: größer"
    assert capture.record["untracked"] == ["new.txt"]
    copy = applied(capture, repository, new_copy())
    assert (copy / "train.py").read_text() == "lr = 0.2\n\nepochs = 3\n"
    assert (copy / "nets/unet.py").read_text() == "depth = 5\n"


def test_strange_names_and_bytes(repository, new_copy):
    """Names with spaces, quotes and line breaks, and files that are not UTF-8, are recorded as they are."""
    name = 'a "b"\té\n.txt'
    repository.write(name, b"1\n")
    repository.commit()
    repository.write(name, BYTES_NOT_UTF8)
    repository.write("new \xe9.py", "")
    os.close(os.open(os.fsencode(repository.path) + b"/raw \xff.py", os.O_CREAT | os.O_WRONLY))

    capture = repository.capture()

    assert sorted(capture.record["untracked"]) == ["new \xe9.py", "raw \\udcff.py"]
    assert (applied(capture, repository, new_copy()) / name).read_bytes() == BYTES_NOT_UTF8


def test_renamed_and_binary_files(repository):
    """A renamed file is no untracked one, and a binary file is said to differ but not written out."""
    repository.write("weights.bin", bytes(range(256)))
    repository.commit()
    repository.git("mv", "train.py", "main.py")
    repository.write("weights.bin", bytes(reversed(range(256))))
    repository.write("new.py", "")

    capture = repository.capture()

    assert capture.record["untracked"] == ["new.py"]
    assert b"rename to main.py" in capture.diff
    assert b"Binary files a/weights.bin and b/weights.bin differ" in capture.diff


def test_untracked_files(repository):
    """Untracked files are named, ignored ones are not, and the surplus is counted."""
    repository.write(".gitignore", "*.log\n")
    repository.commit()
    for number in range(5):
        repository.write(f"new_{number}.py", "")
    repository.write("run.log", "")
    repository.write("folder/one.py", "")

    record = repository.capture(max_untracked=4).record

    assert record["dirty"] is False
    assert record["untracked"] == ["folder/", "new_0.py", "new_1.py", "new_2.py"]
    assert record["untracked_truncated"] == 2


def test_detached_head(repository):
    """A commit that no branch holds is recorded without one."""
    repository.git("checkout", "--quiet", "--detach")

    record = repository.capture().record

    assert (record["branch"], record["detached"]) == (None, True)
    assert record["commit"] == repository.git("rev-parse", "HEAD")


def test_branch_with_slashes_and_packed_refs(repository):
    """A branch is told by its whole name, also where git keeps all refs in one file."""
    repository.git("checkout", "--quiet", "-b", "feature/deep/er")
    repository.git("pack-refs", "--all")

    assert repository.capture().record["branch"] == "feature/deep/er"


def test_no_commits(new):
    """Before the first commit there is a branch, and files that it does not have."""
    repository = new()
    repository.write("train.py", "")

    capture = repository.capture()

    assert capture.diff is None
    assert capture.record == {
        "root": str(repository.path),
        "commit": None,
        "no_commits": True,
        "branch": "main",
        "detached": False,
        "remotes": {},
        "dirty": False,
        "untracked": ["train.py"],
    }


def test_not_a_repository(tmp_path):
    """Outside of a repository nothing is known but that."""
    capture = captured(tmp_path, environ={**ENVIRON, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)})

    assert capture == GitCapture({"repository": False}, None)


def test_a_folder_that_is_not_there(tmp_path):
    """A missing folder is said to be missing."""
    assert captured(tmp_path / "gone").record == {"error": f"there is no folder {tmp_path / 'gone'}"}


def test_bare_repository(new, repository):
    """A repository without files has a commit, but no state."""
    bare = new("bare.git", "--bare")
    bare.git("fetch", "--quiet", repository.path, "main:main")

    record = bare.capture().record

    assert record["bare"] is True
    assert (record["root"], record["branch"], record["message"]) == (str(bare.path), "main", "First")
    assert record.keys().isdisjoint({"error", "dirty", "diff", "untracked"})


def test_what_is_imported(repository):
    """GitPython takes longer to import than git to answer: it is left alone where git leaves nothing open."""
    program = """if True:
        import sys
        from pathlib import Path
        from mlv.capture.git import capture_git
        from mlv.capture.redaction import Redactor

        assert "error" not in capture_git(Path(sys.argv[1]), redactor=Redactor()).record
        assert "git" not in sys.modules
    """
    environ = {**ENVIRON, "PYTHONPATH": str(Path(mlv.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", program, repository.path], env=environ, check=True, timeout=60)


def test_worktree(repository, tmp_path):
    """A linked worktree is a repository of its own place and branch."""
    repository.git("worktree", "add", "--quiet", "-b", "other", tmp_path / "linked")
    (tmp_path / "linked/train.py").write_text("lr = 7\n")

    capture = captured(tmp_path / "linked/nets")

    assert (capture.record["root"], capture.record["branch"]) == (str(tmp_path / "linked"), "other")
    assert b"+lr = 7" in capture.diff


def test_worktree_of_a_bare_repository(new, repository, tmp_path):
    """A worktree has files, also where the repository that it is linked to has none."""
    bare = new("bare", "--bare")
    repository.git("push", "--quiet", bare.path, "main")
    bare.git("worktree", "add", "--quiet", tmp_path / "linked", "main")

    record = captured(tmp_path / "linked").record

    assert (record["root"], record["branch"], record["dirty"]) == (str(tmp_path / "linked"), "main", False)
    assert record.keys().isdisjoint({"bare", "error"})


def test_submodules(repository, new):
    """A change inside a submodule makes the outer one dirty; from inside, the submodule is the repository."""
    outer = new("outer")
    outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", repository.path, "sub")
    outer.commit("Outer")
    outer.write("sub/new.txt", "")

    assert outer.capture().record["dirty"] is False

    outer.write("sub/train.py", "lr = 9\n")

    assert outer.capture().diff.count(b"-dirty") == 1
    inner = outer.capture("sub/nets").record
    assert (inner["root"], inner["message"]) == (str(outer.path / "sub"), "First")
    assert inner["remotes"] == {"origin": str(repository.path)}


def test_start_below_and_through_a_link(repository, tmp_path):
    """The repository is found from any folder in it, also by way of a symbolic link from outside."""
    (tmp_path / "link").symlink_to(repository.path / "nets")

    assert captured(tmp_path / "link").record == repository.capture("nets").record == repository.capture().record


def test_variables_of_git_do_not_mislead(repository, new, monkeypatch):
    """A hook that starts a script names another repository in its environment: the script's own counts."""
    other = new("other")
    other.commit("Other")
    index = other.path / ".git/index"

    record = repository.capture(environ={**ENVIRON, "GIT_DIR": str(index.parent), "GIT_INDEX_FILE": str(index)}).record

    assert (record["root"], record["message"], record["dirty"]) == (str(repository.path), "First", False)


def test_remotes(repository):
    """Every remote is recorded, without what opens its door."""
    repository.git("remote", "add", "origin", "https://me:hunter22@example.org/o/r.git")
    repository.git("remote", "add", "my-fork", "git@example.org:me/r.git")
    repository.git("config", "remote.pushonly.pushurl", "https://x@y/z")
    redactor = Redactor()

    record = repository.capture(redactor=redactor).record

    assert list(record["remotes"].items()) == [
        ("origin", "https://<redacted>@example.org/o/r.git"),
        ("my-fork", "git@example.org:me/r.git"),
    ]
    assert redactor.redactions == ["git.remotes.origin"]


# --- Secrets ---------------------------------------------------------------------------------------------------------


def test_credentials_never_come_out(repository):
    """Neither the record nor the diff has a credential, wherever it was, and the diff still has its form."""
    secret = "gh" + "p_16C7e42F292c6912E7710c838347Ae178B4a"
    repository.commit(f"Use {secret}")
    repository.write("train.py", f'lr = 0.1\napi_key = "hunter22"\nepochs = 3  # {secret}\n')
    repository.write(f"{secret}.txt", "")
    redactor = Redactor()

    capture = repository.capture(redactor=redactor)

    everything = json.dumps(capture.record) + capture.diff.decode()
    assert secret not in everything
    assert "hunter22" not in everything
    assert b'+api_key = "<redacted>"\n' in capture.diff
    assert capture.record["diff"]["redacted"] is True
    assert redactor.redactions == ["git.diff", "git.message", "git.untracked[0]"]


# --- Sizes and times -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cap_bytes", [0, 1, 300, 1000])
def test_a_long_diff_is_cut_at_a_line(repository, cap_bytes):
    """What is kept of a long diff is whole lines, and the last one says that it was cut."""
    repository.write("train.py", "".join(f"line {number}\n" for number in range(1000)))
    whole = repository.capture().diff

    capture = repository.capture(diff_cap_bytes=cap_bytes)

    sizes = capture.record["diff"]
    kept, last = capture.diff[: sizes["kept_bytes"]], capture.diff[sizes["kept_bytes"] :]
    assert whole.startswith(kept)
    assert len(kept) <= cap_bytes
    assert kept == b"" or kept.endswith(b"\n")
    assert last == b"# mlv: cut here, after %d of %d bytes\n" % (len(kept), len(whole))
    assert sizes == {"bytes": len(whole), "kept_bytes": len(kept), "truncated": True, "redacted": False}


@pytest.fixture
def git_that(tmp_path: Path) -> Iterator[Callable[[str], dict[str, str]]]:
    """Make a `git` that does something else, as a shell script; the real one is `"$real" "$@"`."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def make(script: str) -> dict[str, str]:
        path = folder / "git"
        path.write_text(f'#!/bin/sh\nreal="{shutil.which("git")}"\n{textwrap.dedent(script)}\n')
        path.chmod(0o755)
        return {**ENVIRON, "PATH": f"{folder}{os.pathsep}{ENVIRON['PATH']}"}

    yield make
    # Whatever was started is gone by now.
    pids = [int(file.read_text()) for file in folder.glob("*.pid")]
    assert not [pid for pid in pids if is_running(pid)]


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_huge_diff_is_not_held_in_memory(repository, git_that):
    """Of a diff of 300 MB only the part that is kept is ever in memory."""
    environ = git_that("""case "$*" in *" diff "*) yes "+x" | head -c 300000000 ;; *) exec "$real" "$@" ;; esac""")
    tracemalloc.start()

    capture = repository.capture(environ=environ, diff_cap_bytes=2**20)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert capture.record["diff"]["bytes"] == 300_000_000
    assert 2**20 - 10 < capture.record["diff"]["kept_bytes"] <= 2**20
    assert peak_bytes < 30 * 2**20


@pytest.mark.parametrize(("slow", "missing"), [("diff", {"diff"}), ("status", {"untracked"}), ("rev-list", {"author"})])
def test_a_slow_command_costs_only_its_own_part(repository, git_that, tmp_path, slow, missing):
    """When the time is over, the record says what took too long and has all the rest."""
    repository.write("train.py", "lr = 0.2\n")
    environ = git_that(f"""
        case "$*" in *" {slow} "*) sleep 600 & echo $! > {tmp_path}/bin/{slow}.pid; wait ;; *) exec "$real" "$@" ;; esac
    """)

    record = repository.capture(environ=environ, timeout_s=1.5).record

    assert record["error"] == f"git {slow} took longer than 1.5 s"
    assert record["commit"] == repository.git("rev-parse", "HEAD")
    assert record["dirty"] is True
    assert missing.isdisjoint(record)


@pytest.mark.parametrize("slow", ["rev-parse", "config"])
def test_a_slow_command_whose_answer_is_in_the_files(repository, git_that, tmp_path, slow):
    """Folder and remotes are read from the files of the repository where git does not tell them in time."""
    repository.git("remote", "add", "origin", "git@example.org:me/r.git")
    environ = git_that(f"""
        case "$*" in *" {slow} "*) sleep 600 & echo $! > {tmp_path}/bin/{slow}.pid; wait ;; *) exec "$real" "$@" ;; esac
    """)

    assert repository.capture(environ=environ, timeout_s=1.5) == repository.capture()


def test_a_git_that_hangs(repository, git_that, tmp_path):
    """A git that never answers is left after the time for it, together with whatever it had started, and asked no more."""
    environ = git_that(f"echo x >> {tmp_path}/asked; sleep 600 & echo $! > {tmp_path}/bin/$$.pid; wait")

    capture = repository.capture(environ=environ, timeout_s=0.3)

    assert capture == GitCapture({"error": "git rev-list took longer than 0.3 s"}, None)
    assert len((tmp_path / "asked").read_text().split()) <= 3


def test_a_diff_that_stops_in_the_middle(repository, git_that):
    """What a slow git had said of the diff until the deadline is kept, in whole lines, and said to be cut."""
    environ = git_that("""
        case "$*" in *" diff "*) printf 'diff --git\\n+half'; sleep 60 ;; *) exec "$real" "$@" ;; esac
    """)

    capture = repository.capture(environ=environ, timeout_s=1.5)

    assert capture.diff == b"diff --git\n# mlv: cut here, after 11 of at least 16 bytes\n"
    assert capture.record["diff"]["truncated"] is True
    assert capture.record["error"] == "git diff took longer than 1.5 s"


# --- What must not happen --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [-1000, 0, 1000])
def test_the_index_is_not_touched(repository, seconds):
    """The user's own git commands never meet a lock of ours, and the index stays byte by byte as it was."""
    path = repository.path / "train.py"
    moment = time.time() + seconds
    os.utime(path, (moment, moment))  # git would write the new time of an unchanged file into its index
    before = snapshot(repository.path)

    repository.capture()

    assert snapshot(repository.path) == before


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_no_program_of_the_repository_is_run(repository, tmp_path):
    """Hooks, monitors, pagers and viewers of differences may do anything: none is started."""
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\necho "$0 $*" >> {tmp_path}/was_run\ncat "$1" 2>/dev/null\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    for setting in ("core.fsmonitor", "core.pager", "diff.external", "diff.shown.textconv", "diff.shown.command"):
        repository.git("config", setting, program)
    hook = repository.path / ".git/hooks/post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.symlink_to(program)
    repository.write(".git/info/attributes", "*.py diff=shown\n")
    repository.write("train.py", "lr = 0.2\n")

    capture = repository.capture(environ={**ENVIRON, "GIT_EXTERNAL_DIFF": str(program), "GIT_PAGER": str(program)})

    assert b"+lr = 0.2" in capture.diff
    assert not (tmp_path / "was_run").exists()


def test_a_partial_clone_is_not_completed(repository, new):
    """What a partial clone lacks is not fetched: a remote may be slow, and ask for a password."""
    repository.git("config", "uploadpack.allowFilter", "true")
    clone = new("clone")
    clone.git("remote", "add", "origin", repository.path.as_uri())
    clone.git("fetch", "--quiet", "--filter=blob:none", "origin", "main")
    clone.git("update-ref", "refs/heads/main", "FETCH_HEAD")
    clone.git("read-tree", "HEAD")
    clone.write("train.py", "lr = 0.2\n")

    record = clone.capture().record

    assert record["message"] == "First"
    assert "transport" in record["error"]


# --- Without a git that answers --------------------------------------------------------------------------------------


def test_dubious_ownership(repository):
    """A repository of somebody else, as containers have them, is recorded with git's words and what its files tell."""
    record = repository.capture(environ={**ENVIRON, "GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}).record

    assert "detected dubious ownership" in record["error"]
    assert (record["commit"], record["branch"]) == (repository.git("rev-parse", "HEAD"), "main")


def test_a_broken_repository(repository):
    """A repository that git cannot read is recorded with git's words."""
    (repository.path / ".git/config").write_text("[core\n")

    assert "bad config" in repository.capture().record["error"]


def test_a_remote_without_a_value(repository):
    """A line of the settings that git refuses costs git's answers, and nothing that the files tell besides."""
    repository.git("remote", "add", "origin", "git@example.org:me/r.git")
    commit, config = repository.git("rev-parse", "HEAD"), repository.path / ".git/config"
    config.write_text(config.read_text() + '[remote "odd"]\n\turl\n')

    record = repository.capture().record

    assert "remote.odd.url" in record["error"]
    assert (record["commit"], record["remotes"]) == (commit, {"origin": "git@example.org:me/r.git"})


def test_a_broken_git_file(tmp_path):
    """A worktree whose repository is gone is no reason to fail."""
    (tmp_path / ".git").write_text("gitdir: /nowhere/.git/worktrees/x\n")

    assert "not a git repository: /nowhere" in captured(tmp_path).record["error"]


WITHOUT_GIT = """
import json, os, sys
from pathlib import Path
from mlv.capture.git import capture_git
from mlv.capture.redaction import Redactor

before = dict(os.environ)
capture = capture_git(Path(sys.argv[1]), redactor=Redactor())
assert dict(os.environ) == before
try:
    import git
except ImportError:
    print(json.dumps([capture.record, capture.diff]))
"""


def without_git(folder: Path) -> list[Any]:
    environ = {**ENVIRON, "PATH": "/nonexistent", "PYTHONPATH": str(Path(mlv.__file__).parents[1])}
    command = [sys.executable, "-W", "error", "-c", WITHOUT_GIT, str(folder)]
    result = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert result.stderr == ""
    answer: list[Any] = json.loads(result.stdout)
    return answer


def test_git_is_not_installed(repository):
    """Without git the files still tell commit, branch and remotes, and `import git` refuses as it did before."""
    repository.git("remote", "add", "origin", "https://hunter22@example.org/o/r.git")
    repository.write("train.py", "lr = 0.2\n")

    assert without_git(repository.path / "nets") == [
        {
            "root": str(repository.path),
            "commit": repository.git("rev-parse", "HEAD"),
            "branch": "main",
            "detached": False,
            "remotes": {"origin": "https://<redacted>@example.org/o/r.git"},
            "error": "git is not installed: there is no program 'git' on the PATH",
        },
        None,
    ]


def test_neither_git_nor_a_repository(tmp_path):
    """Without git it can still be seen that there is no repository."""
    assert without_git(tmp_path) == [{"repository": False}, None]


def test_a_git_that_may_not_be_run(repository, tmp_path):
    """A git that the system refuses to start is named with the system's reason."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").write_text("")

    record = repository.capture(environ={**ENVIRON, "PATH": str(tmp_path / "bin")}).record

    assert record["error"].startswith("git cannot run: ")
    assert record["branch"] == "main"

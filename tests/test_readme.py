"""README and the pages of `docs/` are true: their code runs in the order of each page, and prints what stands below it.

The two commands that set up a fresh machine need the network, and are run by `.ci/run`: here they are only held against it.
"""

from __future__ import annotations

import inspect
import io
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from bucket.servers import Bucket, running_moto, why_missing

import mlv
from mlv import settings
from mlv.compat import dllogger

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
WRITTEN = sorted(path for path in DOCS.rglob("*.md") if not path.is_symlink())
"""The pages of `docs/`; links lead to those of `schemas/`, which have tests of their own."""
SET_UP = ".venv/bin/python"
"""What a block of `sh` that sets up the machine runs."""
FRAMEWORKS = (
    *("accelerate", "catboost", "hydra", "ignite", "keras", "lightgbm", "lightning", "optuna", "skorch", "stable_baselines3"),
    *("transformers", "xgboost", "sklearn", "fastai", "jax", "metaflow", "mmengine", "mlflow", "ray"),
)
"""Libraries with a page, or a section, of their own; what they warn of is no concern of these tests."""
S3 = "s3://lab"
"""The bucket of the pages: moto has it, anew for each page."""
OPTIONAL = {
    **{name: find_spec(name) for name in FRAMEWORKS},
    "sklearn": sys.version_info >= (3, 11) and find_spec("sklearn"),  # before, there is none with callbacks
    "lake": find_spec("deltalake") and find_spec("obstore") and find_spec("duckdb") and find_spec("pandas"),
    "jq": shutil.which("jq"),
    "pandas": find_spec("pandas") and find_spec("pyarrow"),
    "duckdb": find_spec("duckdb") and find_spec("pandas") and find_spec("pyarrow"),
    "numpy": find_spec("numpy") and find_spec("PIL"),
    "matplotlib": find_spec("matplotlib") and find_spec("pandas") and find_spec("pyarrow"),
    "tensorboard": find_spec("tensorboardX"),
    "hdf5": find_spec("h5py"),
    **dict.fromkeys(("mlv doctor file", "mlv push", "MLV_SHIP"), find_spec("obstore")),
    "h5py": find_spec("h5py") and find_spec("yaml") and find_spec("matplotlib"),
    "polars": find_spec("polars") and find_spec("deltalake"),
    "dask": find_spec("dask") and find_spec("deltalake") and find_spec("pandas"),
    "pysail": find_spec("pysail") and find_spec("pyspark") and find_spec("deltalake"),
    S3: find_spec("obstore") and not why_missing("moto"),
}
GOING_ON = {"polars": "lake", "dask": "lake", "pysail": "lake"}
"""Tools whose blocks go on from those of another one."""


RUN = ("python", "console", "sh")
"""Kinds of blocks that run."""


@dataclass(frozen=True)
class Block:
    """A piece of code, or what it printed."""

    kind: str
    text: str
    line: int

    @property
    def tool(self) -> str | None:
        """What has to be installed to run it, besides mlv."""
        if S3 in self.text and self.kind in RUN:
            return S3
        return next(
            (tool for tool in OPTIONAL if re.search(rf"((import|from|\$|--to) |integrations\.){tool}\b", self.text)), None
        )


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    fences = re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(fence[1], fence[2], text.count("\n", 0, fence.start()) + 1) for fence in fences]


def set_up_commands() -> list[str]:
    """The commands that set up a machine, as printed."""
    return [block.text.strip() for block in blocks(README) if SET_UP in block.text]


def cases() -> Iterator[Any]:
    """Each page without optional tools, then with each tool that it uses."""
    for page in (README, *WRITTEN):
        wanted = {block.tool for block in blocks(page) if block.kind in RUN}
        for tool in (None, *(tool for tool in OPTIONAL if tool in wanted)):
            if wanted:
                name = "s3" if tool == S3 else tool or "alone"
                yield pytest.param(page, tool, id=f"{page.relative_to(ROOT)}-{name}")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_cache: None) -> Path:
    """A folder to work in, where `mlv` and `python` are the ones under test."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, command in (("python", sys.executable), ("mlv", f"{sys.executable} -m mlv")):
        (programs / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (programs / name).chmod(0o755)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(dllogger, "GLOBAL_LOGGER", dllogger.NotInitializedObject())  # each reader is a process of its own
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    for name, value in (("COLUMNS", "120"), ("LC_ALL", "C.UTF-8"), ("NO_COLOR", "1"), ("TERM", "dumb")):
        monkeypatch.setenv(name, value)
    # The page's script lies in no repository.
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(folder / "train.py"), raising=False)
    return folder


@pytest.fixture
def lab(cloud_variables: Callable[[Bucket], str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty bucket behind `s3://lab`."""
    with running_moto() as server:
        server.make("lab")
        cloud_variables(server.reach("lab"))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
        yield


@pytest.mark.parametrize(("page", "tool"), list(cases()))
def test_every_block_runs(page, tool, shell, request):
    """All code runs, and prints what stands below it: what needs mlv alone, and what needs one tool more."""
    if tool is not None and not OPTIONAL[tool]:
        pytest.skip(f"{'moto or obstore' if tool == S3 else tool} is not installed")
    if tool == S3:
        request.getfixturevalue("lab")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block, following in zip_longest(blocks(page), blocks(page)[1:]):
        if block.tool not in (None, tool, GOING_ON.get(tool)) or SET_UP in block.text:
            continue
        if block.kind == "python" and (name := re.match(r"# (\w+\.py)\n", block.text)):
            (shell / name[1]).write_text(block.text)
        elif block.kind == "python":
            with warnings.catch_warnings():
                if tool in FRAMEWORKS or tool in GOING_ON:
                    warnings.simplefilter("ignore")
                printed = run_python(page, block, namespace)
            if following is not None and following.kind == "text":
                assert_alike(printed, following.text, f"{page.name}, line {following.line}")
        elif block.kind in ("console", "sh"):
            for command, expected in commands(block):
                assert_alike(run_shell(command), expected, f"{page.name}, line {block.line}")


def run_python(page: Path, block: Block, namespace: dict[str, Any]) -> str:
    code = compile("\n" * block.line + block.text, str(page), "exec", dont_inherit=True)
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(code, namespace)
    return printed.getvalue()


def run_shell(command: str) -> str:
    process = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, f"{command}\n{process.stderr}"
    return process.stdout


def commands(block: Block) -> Iterator[tuple[str, str | None]]:
    """The commands of a block; in a console, with what they printed."""
    if block.kind == "sh":
        yield block.text, None
        return
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        yield command, expected


TIME = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+Z| [A-Z]{3,5}| [-+]\d{2,4})?|[A-Z][a-z]{2} \d\d \d\d:\d\d"
QUANTITY = r"\bpid \d+|\b\d+(?:\.\d+)? (?:m?s|[kM]?B)\b"
LIKENESS = {
    "run": (r"\br(?=[a-z]*[0-9])[0-9a-z]{9}\b", r"r[0-9a-z]{9}"),
    "moment": (r"(?<=tfevents\.)\d{10}\b", r"\d{10}"),
    "digest": (r"\b(?=[a-f]*[0-9])[0-9a-f]{8,64}\b", r"[0-9a-f]{8,64}"),
    "time": (TIME, f"(?:{TIME})"),
    "quantity": (QUANTITY, f"(?:{QUANTITY})"),
}
"""What is another one each time: how to find it on the page, and what it may be when printed."""
VARYING = re.compile("|".join(f"(?P<{name}>{on_page})" for name, (on_page, _) in LIKENESS.items()))


def assert_alike(printed: str, expected: str | None, line: str) -> None:
    """Compare, leaving aside what varies, and any number of lines where the page has `...` for them."""
    if expected is None:
        return
    wanted = "".join(rf"{pattern(text)}\n" if text != "..." else r"(?:.*\n)*?" for text in stripped(expected))
    found = "".join(f"{text}\n" for text in stripped(printed))
    assert re.fullmatch(wanted, found), f"{line} says:\n{expected}\nbut what was printed is:\n{printed}"


def stripped(text: str) -> list[str]:
    """Lines with white space as it reads: how wide a column is depends on what is in it."""
    return [re.sub(r"(?<=\S) {2,}", "  ", line.rstrip()) for line in text.splitlines()]


def pattern(line: str) -> str:
    wanted, end = "", 0
    for found in VARYING.finditer(line):
        wanted += re.escape(line[end : found.start()]) + LIKENESS[str(found.lastgroup)][1]
        end = found.end()
    return wanted + re.escape(line[end:])


def test_set_up_is_what_ci_does():
    """Two commands set everything up; they install and run what is there, and CI runs both as printed, in their order."""
    ci = (ROOT / ".ci" / "run").read_text()
    first, second = set_up_commands()
    extras = [extra for names in re.findall(r"\[([\w,]+)\]", first + second) for extra in names.split(",")]

    assert [block.kind for block in blocks(README) if SET_UP in block.text] == ["sh", "sh"]
    assert f"\n{first}\n{second}\n" in ci
    assert all(f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text() for extra in extras)
    assert (ROOT / first.split()[-1]).is_file()
    assert second.count(" && ") == 1


def test_map_is_complete():
    """The map names every module and folder that the package has, and none that it does not have."""
    [drawn] = [block.text for block in blocks(ROOT / "CONTRIBUTING.md") if block.text.startswith("mlv/\n")]
    inside = re.findall(r"^  (\S+)", drawn, re.MULTILINE)
    top = re.findall(r"^(\S+)/ ", drawn, re.MULTILINE)
    there = {path.name + "/" * path.is_dir() for path in (ROOT / "mlv").iterdir() if path.name[0] not in "_."} - {"py.typed"}

    assert set(inside) == there
    assert all((ROOT / name).is_dir() for name in top)


@pytest.mark.parametrize("page", [README, ROOT / "CONTRIBUTING.md", *WRITTEN], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    """Every link to a file, pictures included, has that file; the strict build looks at anchors."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_front_page_is_short():
    """README is read in one sitting; what needs more room has a page of `docs/`."""
    assert len(README.read_text().splitlines()) <= 150


def test_every_page_is_in_the_navigation():
    """The navigation of the built pages leads to each page, and to nothing else."""
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    listed = re.findall(r'"([^"]+\.md)"', (ROOT / "zensical.toml").read_text())

    assert sorted(listed) == sorted(pages)


def test_every_public_name_is_in_the_reference():
    """The reference shows each public name: by itself, or with all of its module."""
    shown = {name for page in WRITTEN for name in re.findall(r"^::: (\S+)", page.read_text(), re.MULTILINE)}
    modules = {"mlv.hdf", "mlv.errors"}

    assert modules <= shown
    assert [name for name in mlv.__all__ if f"mlv.{name}" not in shown and getattr(mlv, name).__module__ not in modules] == []


def test_documented_arguments_are_there():
    """Each argument that a public docstring names is one of the signature: the reference shows them beside each other."""
    public = [getattr(mlv, name) for name in mlv.__all__]
    members = [member for item in public if inspect.isclass(item) for owner in item.__mro__ for member in vars(owner).values()]
    functions = filter(inspect.isfunction, (getattr(member, "__func__", member) for member in public + members))
    wrong = [
        (function.__qualname__, argument)
        for function in functions
        for argument in re.findall(r"^    (\w+):", arguments(inspect.getdoc(function) or ""), re.MULTILINE)
        if argument not in inspect.signature(function).parameters
    ]

    assert wrong == []


def arguments(docstring: str) -> str:
    """The section of a docstring that describes arguments."""
    section = re.search(r"^Args:\n((?:    .*\n|\n)*)", docstring + "\n", re.MULTILINE)
    return section[1] if section else ""


def test_settings_are_documented():
    """The page of settings has each setting: its variable, its key, its default and what it means."""
    page = (DOCS / "reference" / "settings.md").read_text()
    rows = [f"| `{it.env}` | `{it.key}` | {settings.value_text(it.default)} | {it.meaning} |" for it in settings.SETTINGS]

    assert re.findall(r"^\| `MLV_.*$", page, re.MULTILINE) == rows


@pytest.mark.parametrize("page", [README, *WRITTEN], ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_is_left_to_fill_in(page):
    """Every figure has been measured."""
    assert re.findall(r"\{\{\w+\}\}", page.read_text()) == []

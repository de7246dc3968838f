"""The variables and packages of a process are recorded, quickly and without credentials."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
from pathlib import Path

from mlv.capture.env import capture_env
from mlv.capture.redaction import REDACTED, Redactor


def packages(*folders: object) -> dict[str, str]:
    found: dict[str, str] = capture_env({}, Redactor(), path=[str(folder) for folder in folders])["packages"]
    return found


def install(folder: Path, name: str, metadata: str | None = None) -> Path:
    """Lay down what an installer leaves of a package."""
    info = folder / name
    info.mkdir(parents=True)
    if metadata is not None:
        (info / ("METADATA" if name.endswith("dist-info") else "PKG-INFO")).write_text(metadata)
    return info


def test_packages_are_those_of_importlib():
    """Reading only the names of folders finds what reading all the metadata finds."""
    expected: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        expected.setdefault(name, distribution.version)

    assert capture_env({}, Redactor())["packages"] == expected


def test_packages_are_sorted_and_normalised(tmp_path):
    """Packages are named as pip compares them, in the order of their names."""
    for name in ("Zope.Interface-5.0", "ruamel.yaml.clib-0.2.8", "PyYAML-6.0", "torch-2.1.0+cu118", "x-1!2.0rc1.post2"):
        install(tmp_path, f"{name}.dist-info")
    install(tmp_path, "old_style-1.2-py3.11.egg-info")

    assert list(packages(tmp_path).items()) == [
        ("old-style", "1.2"),
        ("pyyaml", "6.0"),
        ("ruamel-yaml-clib", "0.2.8"),
        ("torch", "2.1.0+cu118"),
        ("x", "1!2.0rc1.post2"),
        ("zope-interface", "5.0"),
    ]


def test_names_that_tell_nothing_are_looked_into(tmp_path):
    """Where the folder's name does not tell name and version, its metadata does."""
    install(tmp_path, "mine.egg-info", "Metadata-Version: 2.1\nName: Mine\nVersion: 0.3\n")
    install(tmp_path, "two-parts-0.4.dist-info", "Metadata-Version: 2.1\nName: two-parts\nVersion: 0.4\n")

    assert packages(tmp_path) == {"mine": "0.3", "two-parts": "0.4"}


def test_what_is_no_package_is_passed_over(tmp_path):
    """Leftovers of an interrupted pip, empty folders and files hide nothing else."""
    install(tmp_path, "~umpy-1.0.dist-info")
    install(tmp_path, "empty.egg-info")
    install(tmp_path, "half.dist-info", "Name: half\n")
    install(tmp_path, "numpy-2.0.dist-info")
    (tmp_path / "broken.egg-info").write_bytes(b"\xff\xfe\x00")

    assert packages(tmp_path, tmp_path / "gone", tmp_path / "broken.egg-info", "/x.zip") == {"numpy": "2.0"}


def test_the_first_folder_counts(tmp_path):
    """Of two installations, the one that Python imports is recorded."""
    install(tmp_path / "user", "numpy-2.0.dist-info")
    install(tmp_path / "system", "numpy-1.0.dist-info")

    assert packages(tmp_path / "user", tmp_path / "system") == {"numpy": "2.0"}


def test_the_current_folder_may_be_nameless(tmp_path, monkeypatch):
    """The empty text in `sys.path` is the current folder."""
    install(tmp_path, "numpy-2.0.dist-info")
    monkeypatch.chdir(tmp_path)

    assert packages("") == {"numpy": "2.0"}


def test_variables():
    """All variables are there, and of credentials the names."""
    redactor = Redactor()

    record = capture_env({"HF_TOKEN": "hunter22", "SEED": "3"}, redactor)

    assert record["variables"] == {"HF_TOKEN": REDACTED, "SEED": "3"}
    assert redactor.redactions == ["env.HF_TOKEN"]


def test_the_real_environment_is_plain():
    """What is recorded of this very process can be written as JSON, and changes nothing in it."""
    before = dict(os.environ)

    record = capture_env(os.environ, Redactor())

    json.dumps(record, ensure_ascii=False).encode()
    assert record["variables"].keys() == before.keys()
    assert dict(os.environ) == before

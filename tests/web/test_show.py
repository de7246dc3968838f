"""The page in a notebook."""

from __future__ import annotations

import html
import shutil
from pathlib import Path

import pytest

import mlv
from mlv.errors import FileUnusable, InvalidArgument
from mlv.web import built

is_built = pytest.mark.skipif(
    not (Path(built.__file__).parent / "static" / "page.js").exists(), reason="the page is not built: npm is missing"
)


@is_built
def test_experiments_are_shown_in_a_frame(runs):
    """Chosen experiments are one page, in a frame that reaches nothing of the notebook."""
    pytest.importorskip("duckdb", reason="filters need mlvlogger[sql]")
    page = mlv.find(runs, where="params.lr < 0.15").show(height=300)

    assert page.html.count('mlvData("exp/') == 1
    assert html.escape(page.html) in page._repr_html_()
    assert 'sandbox="allow-scripts allow-downloads"' in page._repr_html_()
    assert "height: 300px" in page._repr_html_()
    assert repr(page).startswith("<page of 1 experiment, ")


@is_built
def test_running_experiment_is_shown(runs):
    """An experiment is shown with what it has logged a moment ago, and with those below it."""
    with mlv.Exp(runs, "going", capture=()) as exp:
        exp.log({"a moment ago": 1.0})
        page = exp.show()

    assert '"a moment ago"' in page.html


def test_without_a_page_it_says_what_to_do(runs):
    """Where the page was not built, the error says what to do."""
    if (built.STATIC / "index.html").exists():
        pytest.skip("the page is built")
    with pytest.raises(FileUnusable, match=r"Node\.js"):
        mlv.find(runs).show()


def test_wrong_heights_are_refused(runs):
    """A height that is no number of pixels is refused."""
    with pytest.raises(InvalidArgument, match="pixels"):
        mlv.find(runs).show(height="tall")


def test_deleted_experiment_is_said(runs):
    """Of an experiment whose folder is gone the page says so."""
    exp = mlv.Exp.open(runs / "digits")
    shutil.rmtree(runs / "digits")

    assert "on disk" in exp.show().html

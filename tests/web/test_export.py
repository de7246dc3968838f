"""The page as a folder, or as one file: it opens by double click, without a server, and offline."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mlv
from mlv.errors import FileUnusable, InvalidArgument
from mlv.web import built
from mlv.web.export import export
from mlv.web.limits import LIMITS
from mlv.web.pixels import kept

np = pytest.importorskip("numpy", reason="curves need numpy")
pytest.importorskip("duckdb", reason="filters need mlvlogger[sql]")
HOSTILE = "</script><script>document.title='taken'</script><!--"


@pytest.fixture(autouse=True)
def page(tmp_path, monkeypatch) -> None:
    """A page that shows what it was handed, in place of the built one, which need not be there."""
    folder = tmp_path / "static"
    folder.mkdir()
    (folder / "index.html").write_text(
        '<!doctype html>\n<html lang="en">\n<head>\n<link rel="stylesheet" href="static/style.css">\n'
        '<script defer src="static/page.js"></script>\n</head>\n<body><p id="n">nothing</p></body>\n</html>\n'
    )
    (folder / "style.css").write_text("p { color: green }")
    (folder / "page.js").write_text(
        "const tag = '</script>'; const index = window.mlvStore['index'];"
        "document.getElementById('n').textContent = index.n + ' of ' + index.root;"
        "const more = document.createElement('script'); more.src = 'data/' + index.columns.id[0] + '.js';"
        "more.onload = () => (document.title = Object.keys(window.mlvStore).join(' ')); document.body.append(more);"
    )
    monkeypatch.setattr(built, "STATIC", folder)


def data(site: Path) -> dict[str, dict]:
    """Return the data of a folder by their keys."""
    calls = [path.read_text() for path in sorted((site / "data").iterdir())]
    matches = [re.fullmatch(r'mlvData\("([^"]+)", (.*)\);\n', call, re.DOTALL) for call in calls]
    return {match[1]: json.loads(match[2]) for match in matches}


def floats(text: str) -> list[float]:
    """Return the numbers of a column."""
    return np.frombuffer(base64.b64decode(text), "<f8").tolist()


def test_everything_is_in_the_folder(runs, tmp_path):
    """The folder has the page, the list, and all about each experiment; short curves are whole."""
    written = export(runs, tmp_path / "site")
    store = data(tmp_path / "site")
    index = store["index"]
    one = store[f"exp/{index['columns']['id'][index['columns']['path'].index('digits')]}"]

    assert written.experiments == index["n"] == 2
    assert (index["complete"], index["export"]["files"]) == (True, "none")
    assert one["overview"]["params"]["lr"] == 0.1
    assert one["verify"]["verdict"] == "intact"
    assert floats(one["curves"]["loss"]["y"]) == [1.0, 0.5, 1 / 3]
    assert floats(one["curves"]["loss"]["step"]) == [0.0, 1.0, 2.0]
    assert (one["curves"]["acc"]["nan"], one["curves"]["acc"]["exact"]) == (1, True)
    assert {path.name for path in (tmp_path / "site" / "static").iterdir()} == {"folder.js", "page.js", "style.css"}
    assert not (tmp_path / "site" / "files").exists()


def test_long_curves_keep_their_spikes(runs, tmp_path):
    """Of a long curve a few thousand points are kept: every spike, and every kind of what is no number."""
    with mlv.Exp(runs, "long", capture=()) as exp:
        for step in range(20_000):
            exp.log({"loss": {777: 99.0, 12_345: -99.0, 15_000: float("nan"), 100: float("inf")}.get(step, 0.0)}, step=step)
    export(runs, tmp_path / "site", where=f"id = '{exp.id}'")
    store = data(tmp_path / "site")
    curve = store[f"exp/{exp.id}"]["curves"]["loss"]
    points = dict(zip(floats(curve["step"]), floats(curve["y"]), strict=True))

    assert list(store) == [f"exp/{exp.id}", "index"]
    assert (curve["of"], curve["exact"], curve["nan"], curve["inf"]) == (20_000, False, 1, 1)
    assert len(points) < 4200
    assert (points[777], points[12_345], points[100]) == (99.0, -99.0, float("inf"))
    assert points[15_000] != points[15_000]


def test_kept_points_are_in_order():
    """First and last, least and greatest of each stretch are kept, each once, in their order."""
    y = np.array([5.0, 1, 9, 4, 4, 4, 4, 4, np.nan, np.nan])

    assert kept(y, 1).tolist() == [0, 1, 2, 7, 8]
    assert kept(y, 3).tolist() == list(range(10))
    assert kept(np.full(9, np.nan), 2).tolist() == [0, 5]


@pytest.mark.parametrize(("choice", "endings"), [("none", set()), ("media", {".png"}), ("all", {".png", ".txt"})])
def test_files_go_along(runs, tmp_path, choice, endings):
    """Files of media, or all that events name, are copied, each where its event says."""
    with mlv.Exp.open(runs / "digits") as exp:
        exp.log.image("picture", np.zeros((4, 4, 3), np.uint8), step=0)
    written = export(runs, tmp_path / "site", with_files=choice)
    copied = {path.suffix for path in (tmp_path / "site").glob("files/**/*") if path.is_file()}

    assert copied == endings
    assert written.left_out == []


def test_gone_files_are_counted(runs, tmp_path):
    """A file that an event names and that is gone is told, and nothing else is lost."""
    [path] = (runs / "digits" / "files").rglob("*.txt")
    path.unlink()

    written = export(runs, tmp_path / "site", with_files="all")

    assert written.left_out == ["1 files of digits are gone, or could not be read"]
    assert data(tmp_path / "site")["index"]["export"]["left_out"] == written.left_out


def test_broken_experiment_hides_no_other(runs, tmp_path):
    """An experiment that cannot be read is in the list, with its error."""
    (runs / "broken").mkdir()
    (runs / "broken" / "meta.json").write_text("{")
    export(runs, tmp_path / "site")
    store = data(tmp_path / "site")

    assert store["index"]["n"] == 3
    assert sum("error" in value for value in store.values()) == 1


def test_nothing_is_overwritten(runs, tmp_path):
    """A folder that has something in it, and one in an experiment, are refused."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "thesis.tex").write_text("mine")

    with pytest.raises(InvalidArgument, match="is not empty"):
        export(runs, tmp_path / "site")
    with pytest.raises(InvalidArgument, match="lies in an experiment"):
        export(runs, runs / "digits" / "site")
    with pytest.raises(InvalidArgument, match="none, media, all"):
        export(runs, tmp_path / "other", with_files="some")
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["thesis.tex"]


def test_without_a_page_it_says_what_to_do(runs, tmp_path, monkeypatch):
    """Where the page was not built nothing is made, and the error says what to do."""
    monkeypatch.setattr(built, "STATIC", tmp_path / "none")

    with pytest.raises(FileUnusable, match=r"Node\.js"):
        export(runs, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_hostile_texts_end_no_script(runs, tmp_path):
    """A name, a param and a note that hold tags of scripts stay text, in a folder and in one file."""
    with mlv.Exp(runs, "evil", {"text": HOSTILE, HOSTILE: 1}, capture=(), notes=HOSTILE) as exp:
        exp.log({HOSTILE: 1.0})
    export(runs, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()

    assert HOSTILE not in text
    assert text.count("<script>") == text.count("</script>") == 6
    assert 'src="static' not in text
    assert 'href="static' not in text


def open_in_browser(path: Path) -> tuple[str, str, list[str]]:
    """Open a file in a real browser without a network; return title, text, and what it complains about."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = shutil.which("chromium") or pytest.skip("needs Debian's chromium")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(offline=True)
        page, faults = context.new_page(), []
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(path.as_uri())
        sync_api.expect(page.locator("#n")).not_to_have_text("nothing")
        sync_api.expect(page.locator("p")).to_have_css("color", "rgb(0, 128, 0)")
        if path.name == "index.html":
            sync_api.expect(page).not_to_have_title("")
        result = page.title(), page.locator("#n").text_content(), faults
        browser.close()
    return result


def test_folder_opens_by_double_click(runs, tmp_path):
    """A browser runs the page from the disk, and gets more data from beside it; the policy has nothing to object to."""
    export(runs, tmp_path / "site")
    title, text, faults = open_in_browser(tmp_path / "site" / "index.html")

    assert text == f"2 of {runs}"
    assert title.startswith("index exp/")
    assert faults == []


def test_one_file_opens_by_double_click(runs, tmp_path):
    """A browser runs the page that is one file."""
    (built.STATIC / "page.js").write_text(
        "const tag = '</script>'; const { index } = window.mlvStore; document.getElementById('n').textContent = index.n + tag;"
    )
    export(runs, tmp_path / "page.html")
    _, text, faults = open_in_browser(tmp_path / "page.html")

    assert (text, faults) == ("2</script>", [])


def test_command_exports(runs, tmp_path):
    """`mlv ui ROOT --export` writes the folder and says how large it is, or what to do where there is no page."""
    command = [sys.executable, "-m", "mlv", "ui", runs, "--export", tmp_path / "site"]
    done = subprocess.run([*command, "--where", "params.lr < 0.15"], capture_output=True, text=True)

    if (Path(built.__file__).parent / "static" / "index.html").exists():
        assert done.returncode == 0, done.stderr
        assert "1 experiment" in done.stdout
        assert data(tmp_path / "site")["index"]["n"] == 1
    else:
        assert done.returncode != 0
        assert "Node.js" in done.stderr


def test_name_that_scripts_take_for_something_else(tmp_path):
    """A param of the name `__proto__` is one like any other in the page, not the object that its row inherits from."""
    node = shutil.which("node") or pytest.skip("Node.js is needed to run a script")
    runs, site = tmp_path / "odd", tmp_path / "site"
    mlv.Exp(runs, "a", {"__proto__": 7, "b": '{"__proto__":1}'}, capture=()).close()

    export(runs, site)

    script = "global.window = {}; const fs = require('fs'); const run = (name) => (0, eval)(fs.readFileSync(name, 'utf8'));"
    script += "run('static/folder.js'); global.mlvData = window.mlvData; run('data/index.js');"
    script += "console.log(JSON.stringify(window.mlvStore.index.columns.params))"
    printed = subprocess.run([node, "-e", script], cwd=site, check=True, capture_output=True, text=True).stdout
    assert json.loads(printed) == {"__proto__": [7], "b": ['{"__proto__":1}']}


def test_one_file_passes_over_what_is_too_large(tmp_path, monkeypatch):
    """A file that is too large for a page of one file is said, and does not keep the smaller ones behind it out."""
    monkeypatch.setattr(LIMITS, "inline_bytes", 1000)
    with mlv.Exp(tmp_path / "runs", "a", capture=()) as exp:
        for name, size in (("large", 5000), ("small", 100)):
            (tmp_path / f"{name}.png").write_bytes(b"x" * size)
            exp.attach(tmp_path / f"{name}.png")

    written = export(tmp_path / "runs", tmp_path / "page.html", with_files="all")

    assert (tmp_path / "page.html").read_text().count("data:image/png;base64") == 1
    assert any("1 file left out" in sentence for sentence in written.left_out)


def test_export_passes_archiving_on(runs, tmp_path):
    """In the exported list experiments below an archived one count as archived."""
    shutil.copytree(runs / "digits_1", runs / "digits" / "inner")
    shutil.rmtree(runs / "digits_1")
    mlv.Exp.open(runs / "digits").archive()

    export(runs, tmp_path / "site")

    assert data(tmp_path / "site")["index"]["columns"]["archived"] == [True, True]

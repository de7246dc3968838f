"""The page in a real browser, on the real server and under its content policy, over points planted by the test."""

from __future__ import annotations

import base64
import math
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import mlv
from mlv.web.export import export
from tests.web.browser import CHROMIUM, IS_REQUIRED, needs_browser

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
uvicorn = pytest.importorskip("uvicorn", reason="the page needs mlvlogger[ui]")
np = pytest.importorskip("numpy", reason="the page needs mlvlogger[ui]")
sync_api.expect.set_options(timeout=30_000)  # a loaded machine takes long to import what the first query needs
REPOSITORY = Path(__file__).parents[2]
AXE = REPOSITORY / "web" / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = needs_browser

TOKEN = "b" * 43
HOSTILE = "<img src=x onerror=alert(1)>"
SCRIPT = "<script>document.title='taken'</script>"
SPIKE = 5003
POINTS = 10_000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of experiments: one with a spike, one with NaN and infinity, one with hostile texts, and a sub-experiment."""
    folder = tmp_path_factory.mktemp("made") / "runs"
    (folder.parent / "notes.txt").write_text("words")
    with mlv.Exp(folder, "spiky", {"lr": 0.1}, capture=()) as exp:
        for step in range(POINTS):
            exp.log({"loss": 50.0 if step == SPIKE else math.sin(step / 50) / 10}, step=step)
    with mlv.Exp(folder, "broken", {"lr": 0.2}, capture=()) as exp:
        for step in range(100):
            exp.log({"loss": {10: math.nan, 20: math.inf}.get(step, 0.1)}, step=step)
    with mlv.Exp(folder, HOSTILE, {"lr": 0.3, "text": SCRIPT}, capture=(), tags=["javascript:alert(1)"]) as exp:
        exp.add_note(f"{SCRIPT} [here](javascript:alert(1)) ![there](https://evil.example/a.png) **bold**")
        exp.log({"loss": 0.2}, step=0)
    with mlv.Exp(folder, "plain", {"lr": 0.0, "seed": 1}, capture=("script",), tags=["paper"]) as exp:
        kept = exp.checkpoints(latest=1)
        for step in range(100):
            exp.log({"loss": 0.1}, step=step)
        kept.save({"w": 1}, step=99)
        log_media(exp)
        exp.attach(folder.parent / "notes.txt")
        inner = mlv.init_sub_exp(kept.latest, "inner", params={"lr": 0.4})
        inner.log({"loss": 0.3}, step=0)
        inner.close()
    return folder


def log_media(exp: mlv.Exp) -> None:
    """Log an item of each kind of media at two steps; the figure and the text try to run a script."""
    pixels = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAAAAACMmsGiAAAADklEQVR4nGNgQAUMcAYAACQABRsXkbwAAAAASUVORK5CYII="
    )
    for step in (0, 50):
        exp.log.image("seen", pixels, caption=f"at {step}", boxes=[{"box": [1, 1, 3, 3], "label": SCRIPT}], step=step)
        exp.log.audio("heard", np.zeros(80), 8000, step=step)
        exp.log.histogram("weights", [0, 1, 1, step], step=step)
        exp.log.table("rows", [{"a": step, "b": SCRIPT}], step=step)
        exp.log.text("words", f"**step {step}** {SCRIPT}", markdown=True, step=step)
        exp.log.figure("drawn", Drawing(), format="svg", step=step)


class Drawing:
    """A figure of SVG with a script."""

    def savefig(self, file: Any, format: str) -> None:
        """Write it."""
        file.write(
            b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>parent.document.title="x"</script></svg>'
        )


@contextmanager
def served(folder: Path, port: int = 0, **options: Any) -> Iterator[str]:
    """Serve the page of a folder from a thread; yield its address."""
    from mlv.web.app import application

    config = uvicorn.Config(application(folder, TOKEN, **options), port=port, log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/{TOKEN}/"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    with served(root) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_api.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A page on the list."""
    with opened(browser, address) as page:
        yield page


@contextmanager
def opened(browser: Any, address: str) -> Iterator[Any]:
    """Open a page on the list; a violation of the policy, or an error of a script, fails the test."""
    context = browser.new_context(viewport={"width": 1200, "height": 800}, color_scheme="light", reduced_motion="reduce")
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    open_list(page, address)
    yield page
    context.close()
    # A refused filter is an answer with status 400, which browsers put into the console.
    assert [fault for fault in faults if "status of 400" not in fault] == []


def open_list(page: Any, address: str) -> None:
    page.goto(address)
    page.locator(".rows .row").first.wait_for()
    page.locator(".chart canvas").first.wait_for()


def dots(page: Any) -> dict[str, str]:
    """Return the colour of each picked row by its name."""
    script = "rows => rows.map(row => [row.querySelector('a').textContent, row.querySelector('.dot i').style.background])"
    return dict(page.locator(".rows .row.picked").evaluate_all(script))


def high_columns(page: Any) -> tuple[list[int], int]:
    """Return the columns drawn where only a spike reaches, the upper quarters of the chart, and its width."""
    return page.evaluate(
        """() => {
          const canvas = document.querySelector('.chart canvas'), over = document.querySelector('.u-over');
          const scale = canvas.width / canvas.clientWidth, pixels = (length) => Math.round(length * scale);
          const width = pixels(over.clientWidth), rows = pixels(over.clientHeight / 4);
          const top = pixels(over.offsetTop + over.clientHeight / 4);
          const data = canvas.getContext('2d').getImageData(pixels(over.offsetLeft), top, width, rows).data;
          const out = [];
          for (let column = 4; column < width - 4; column += 1) {
            let drawn = 0;
            for (let row = 0; row < rows; row += 1) {
              const at = 4 * (row * width + column);
              if (Math.min(data[at], data[at + 1], data[at + 2]) < 215) drawn += 1;
            }
            if (drawn === rows) out.push(column);
          }
          return [out, width];
        }"""
    )


def wait_until(page: Any, check: Any) -> None:
    deadline = time.monotonic() + 30
    while not check():
        assert time.monotonic() < deadline, "it did not come about in 30 s"
        page.wait_for_timeout(50)


@pytest.mark.parametrize("picked", [False, True])
def test_spike_is_drawn(page: Any, picked: bool) -> None:
    """One of 10,000 points that stands out is drawn where it was logged, in the crowd and as a picked line."""
    if picked:
        page.get_by_role("button", name="pick spiky").click()

    wait_until(page, lambda: high_columns(page)[0])

    columns, width = high_columns(page)
    assert all(abs(column / width - SPIKE / POINTS) < 0.01 for column in columns)


def test_nonfinite_is_counted(page: Any) -> None:
    """A chart says how many points it stands for, and how many are none."""
    sync_api.expect(page.locator(".foot")).to_have_text("5 curves, 10,202 points, 1 NaN, 1 infinite")


def test_colors_stay(page: Any) -> None:
    """Colours stay through a filter, a sort, another pick and a reload; a freed one goes to the next pick."""
    page.get_by_role("button", name="pick plain").click()
    page.get_by_role("button", name="pick spiky").click()
    before = dots(page)
    assert len(set(before.values())) == 2
    page.get_by_role("button", name="pick plain").click()
    page.locator("#filter").fill("params.lr < 0.2")
    page.locator("#filter").press("Enter")
    sync_api.expect(page.locator(".counts").first).to_contain_text("2 of 5")
    page.get_by_role("columnheader", name="lr").get_by_role("button").click()
    assert dots(page) == {"spiky": before["spiky"]}

    page.reload()
    page.locator(".rows .row.picked").wait_for()

    assert dots(page) == {"spiky": before["spiky"]}
    sync_api.expect(page.locator(".counts").first).to_contain_text("2 of 5")
    page.get_by_role("button", name="pick plain").click()
    assert dots(page)["plain"] == before["plain"]


def test_back_undoes(page: Any) -> None:
    """Back takes a pick away, and leads from an experiment to the list."""
    page.get_by_role("button", name="pick plain").click()
    page.get_by_role("link", name="spiky").click()
    sync_api.expect(page.get_by_role("heading", level=1)).to_contain_text("spiky")
    page.go_back()
    sync_api.expect(page.locator(".rows .row.picked")).to_have_count(1)
    page.go_back()
    sync_api.expect(page.locator(".rows .row.picked")).to_have_count(0)


def test_wrong_filter_is_said(page: Any) -> None:
    """A filter that the server refuses is answered with its sentence, and the rows stay."""
    page.locator("#filter").fill("params.lrr < 1")
    page.locator("#filter").press("Enter")
    sync_api.expect(page.get_by_role("alert")).to_contain_text("lrr")
    assert page.locator(".rows .row").count() == 4


def test_hostile_names_are_text(page: Any) -> None:
    """A name, and a note, that look like HTML are shown as they are, in the list and on their own page, and run nothing."""
    sync_api.expect(page.locator(".rows .row", has_text=HOSTILE)).to_contain_text(SCRIPT)
    page.get_by_role("link", name=HOSTILE).click()
    sync_api.expect(page.get_by_role("heading", level=1)).to_contain_text(HOSTILE)
    assert page.locator("#page script, #page img, [href^='javascript']").count() == 0
    assert page.title() == f"{HOSTILE} · mlv"
    sync_api.expect(page.locator("main")).to_contain_text(SCRIPT)


def test_narrow_screen(page: Any) -> None:
    """At 400 pixels nothing hangs over the side."""
    page.set_viewport_size({"width": 400, "height": 800})
    page.locator(".chart canvas").first.wait_for()
    wait_until(page, lambda: page.evaluate("document.documentElement.scrollWidth") == 400)
    for panel, content in PANELS.items():
        open_view(page, panel)
        page.locator(content).first.wait_for()
        assert (panel, page.evaluate("document.documentElement.scrollWidth")) == (panel, 400)
    page.get_by_role("link", name="plain", exact=True).click()
    for part, content in CONTENT.items():
        page.get_by_role("navigation").get_by_role("link", name=part).click()
        page.locator(content).first.wait_for()
        assert (part, page.evaluate("document.documentElement.scrollWidth")) == (part, 400)


def test_keyboard_alone(page: Any) -> None:
    """Rows are reached, picked and opened without a mouse, and ? lists the keys."""
    page.keyboard.press("j")
    for key in ("j", "x", "Home", "ArrowRight"):
        page.keyboard.press(key)
    sync_api.expect(page.locator(".rows .row")).to_have_count(5)
    assert list(dots(page)) == [HOSTILE]
    page.keyboard.press("?")
    sync_api.expect(page.get_by_role("dialog")).to_contain_text("pick the row or let it go")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    sync_api.expect(page.get_by_role("heading", level=1)).to_contain_text("plain")
    page.keyboard.press("Escape")
    page.locator(".rows .row").first.wait_for()
    page.keyboard.press("/")
    page.keyboard.type("broken")
    sync_api.expect(page.locator(".rows .row")).to_have_count(1)


@pytest.mark.skipif(not AXE.exists() and not IS_REQUIRED, reason="needs axe-core: npm ci in web/")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe(page: Any, scheme: str) -> None:
    """axe-core finds nothing on the list and on each part of an experiment's page, light and dark."""
    page.emulate_media(color_scheme=scheme)
    page.get_by_role("button", name="pick plain").click()
    page.locator(".chart canvas").first.wait_for()
    page.evaluate(AXE.read_text())
    assert findings(page) == []
    for panel, content in PANELS.items() if scheme == "light" else ():
        open_view(page, panel)
        page.locator(content).first.wait_for()
        assert (panel, findings(page, ".right")) == (panel, [])
    page.get_by_role("link", name="plain", exact=True).click()
    # Dark differs in its colours only, which few parts show all of.
    for part in CONTENT if scheme == "light" else ("overview", "events"):
        page.get_by_role("navigation").get_by_role("link", name=part).click()
        page.locator(CONTENT[part]).first.wait_for()
        assert (part, findings(page, "main")) == (part, [])


PANELS = {
    "compare": ".card", "scatter": ".scatter canvas", "parallel": ".scatter canvas", "params": ".card", "media": ".medium img",
    "sql": "textarea", "code": ".code",
}  # fmt: skip
"""Of each view beside the list, its content."""
CONTENT = {
    "overview": ".card", "charts": ".chart canvas", "media": ".medium img", "console": ".empty", "events": ".events tr",
    "files": ".sheet", "system": ".chart canvas, .empty", "code": ".code",
}  # fmt: skip
"""Of each part of an experiment's page, its content."""


def open_part(page: Any, name: str, part: str) -> None:
    """Open a part of the page of an experiment, from the list."""
    page.get_by_role("link", name=name, exact=True).click()
    page.get_by_role("navigation").get_by_role("link", name=part).click()


def test_overview_says_what_an_experiment_is(page: Any) -> None:
    """Params, command, runs, checkpoint, child and the verdict on every line stand on an experiment's page; notes are text."""
    page.get_by_role("link", name="plain", exact=True).click()
    main = page.locator("main")
    for text in ("seed", "cd ", "python", "Runs", "Metrics"):
        sync_api.expect(main).to_contain_text(text)
    page.get_by_role("button", name="check every line").click()
    sync_api.expect(page.locator(".verdict")).to_have_text("intact")
    page.get_by_role("link", name="inner/subexp_1").click()
    sync_api.expect(page.get_by_role("heading", level=1)).to_contain_text("subexp_1")
    page.get_by_role("link", name="plain").first.click()
    sync_api.expect(page.get_by_role("heading", level=1)).to_contain_text("plain")


def test_media_follow_one_slider(page: Any) -> None:
    """One slider moves all media to a step, which the address keeps; nothing of theirs runs."""
    open_part(page, "plain", "media")
    sync_api.expect(page.locator(".medium.text strong")).to_have_text("step 50")
    page.keyboard.press("[")
    sync_api.expect(page.locator(".medium.text strong")).to_have_text("step 0")
    sync_api.expect(page.locator(".medium.image figcaption")).to_have_text("at 0")
    sync_api.expect(page.locator(".medium.image .box")).to_have_text(SCRIPT)
    assert "step=0" in page.url
    page.reload()
    sync_api.expect(page.locator(".medium.text strong")).to_have_text("step 0")
    sync_api.expect(page.locator(".medium.table")).to_contain_text(SCRIPT)
    assert page.locator("#page script").count() == 0
    assert page.locator(".medium.image img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 4
    assert page.title() == "plain · mlv"


def test_masks_lie_on_their_image(browser: Any, tmp_path: Path) -> None:
    """Each class of a mask has a colour over its pixels; a class that is switched off is clear, and the address keeps it."""
    pytest.importorskip("PIL", reason="masks are files that Pillow writes")
    mask = np.array([[0, 1], [2, 300]], np.uint16)
    with mlv.Exp(tmp_path / "runs", "seen", capture=()) as exp:
        masks = {"truth": {"mask": mask, "classes": {"1": "cat", "2": SCRIPT}}}
        exp.log.image("seen", np.zeros((2, 2, 3), np.uint8), masks=masks, step=0)
        exp.log({"loss": 1.0}, step=0)
    with served(tmp_path / "runs") as address, opened(browser, address) as page:
        open_part(page, "seen", "media")
        page.get_by_role("button", name="cat").wait_for()
        clear, cat, other, far = shades(page)
        assert (clear, cat[3], other[3], far[3]) == ([0, 0, 0, 0], 255, 255, 255)
        assert len({tuple(cat), tuple(other), tuple(far)}) == 3
        page.get_by_role("button", name="cat").click()
        wait_until(page, lambda: shades(page) == [clear, clear, other, far])
        assert "masks=truth/1" in page.url
        page.reload()
        sync_api.expect(page.get_by_role("button", name="cat")).to_have_attribute("aria-pressed", "false")
        sync_api.expect(page.get_by_role("group", name="Mask truth")).to_contain_text(SCRIPT)
        page.get_by_role("button", name="truth").click()
        sync_api.expect(page.locator("canvas.mask")).to_have_count(0)


def shades(page: Any) -> list[list[int]]:
    """Return the colours of the pixels of a mask of two by two."""
    script = "canvas => [...canvas.getContext('2d').getImageData(0, 0, 2, 2).data]"
    values = page.locator("canvas.mask").evaluate(script)
    return [values[at : at + 4] for at in range(0, 16, 4)]


def test_events_are_searched_and_lead_to_their_line(page: Any) -> None:
    """A search keeps the events whose line has the words, and one shows its line as it stands in the log."""
    open_part(page, HOSTILE, "events")
    page.get_by_label("search").fill("evil.example")
    page.get_by_label("search").press("Enter")
    sync_api.expect(page.locator(".events tbody tr")).to_have_count(1)
    page.get_by_role("button", name="line r").click()
    sync_api.expect(page.get_by_role("region", name="Line")).to_contain_text("log.jsonl, byte")
    sync_api.expect(page.locator(".line pre").first).to_contain_text(SCRIPT)
    assert "find=evil.example" in page.url
    assert "line=r" in page.url


@pytest.mark.parametrize("x", ["step", "elapsed"])
def test_a_point_leads_to_its_line(page: Any, address: str, x: str) -> None:
    """A click on the spike opens the line that logged it, over steps and over another axis."""
    open_list(page, f"{address}?x={x}")
    page.get_by_role("button", name="pick spiky").click()
    wait_until(page, lambda: high_columns(page)[0])
    column, width = high_columns(page)[0][0], high_columns(page)[1]
    over = page.locator(".u-over")
    box = over.bounding_box()
    page.mouse.click(box["x"] + column / width * box["width"] + 0.5, box["y"] + box["height"] / 3)
    sync_api.expect(page.locator(".line pre").first).to_contain_text(f'"step": {SPIKE}')


def open_view(page: Any, name: str) -> None:
    """Open a view beside the list."""
    page.get_by_role("navigation", name="Views").get_by_role("link", name=name).click()


def test_crosshair_says_where_it_is(page: Any) -> None:
    """Beside a chart stand the steps under the pointer, or under the crosshair that keys move, and the values there."""
    page.get_by_role("button", name="pick broken").click()
    page.get_by_label("others").uncheck()
    sync_api.expect(page.locator(".foot")).to_contain_text("1 curve")
    box = page.locator(".u-over").bounding_box()
    page.mouse.move(box["x"] + 50 / 99 * box["width"] + 1, box["y"] + 50)
    sync_api.expect(page.locator(".readout")).to_contain_text("step 50")
    page.mouse.move(5, 5)
    sync_api.expect(page.locator(".readout")).not_to_contain_text("step")
    page.locator("figure.chart").focus()
    page.keyboard.press("ArrowLeft")
    sync_api.expect(page.locator(".readout")).to_contain_text("step 9")


def test_a_mark_leads_to_its_line(page: Any) -> None:
    """A click on the cross of a NaN opens the line that logged it."""
    page.get_by_role("button", name="pick broken").click()
    page.get_by_label("others").uncheck()
    sync_api.expect(page.locator(".foot")).to_have_text("1 curve, 100 points, 1 NaN, 1 infinite")
    box = page.locator(".u-over").bounding_box()
    page.mouse.click(box["x"] + 10 / 99 * box["width"] + 0.5, box["y"] + box["height"] - 3)
    sync_api.expect(page.locator(".line pre").first).to_contain_text('"step": 10')


def test_a_range_on_an_axis_filters(page: Any) -> None:
    """A range dragged along an axis of the parallel coordinates leaves rows out, is in the address, and goes with a click."""
    open_view(page, "parallel")
    page.get_by_role("img", name="5 experiments over lr").wait_for()
    box = page.locator(".scatter canvas").first.bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 1)
    page.mouse.down()
    page.mouse.move(box["x"] + 50, box["y"] + 110)
    page.mouse.up()
    sync_api.expect(page.locator(".counts").first).to_have_text("2 of 5 experiments")
    assert "brush=params.lr:0." in page.url
    page.reload()
    sync_api.expect(page.locator(".rows .row")).to_have_count(2)
    page.get_by_role("button", name="leave out the range of lr").click()
    sync_api.expect(page.locator(".counts").first).to_have_text("5 experiments")
    page.locator("summary", has_text="Ranges").click()
    page.get_by_label("lr from").fill("0.3")
    page.get_by_label("lr from").press("Enter")
    sync_api.expect(page.locator(".counts").first).to_have_text("2 of 5 experiments")


def test_compared_are_what_differs(page: Any) -> None:
    """Of two picked experiments only what differs is shown, and hostile params are text."""
    page.get_by_role("button", name="pick plain").click()
    page.get_by_role("button", name=f"pick {HOSTILE}").click()
    open_view(page, "compare")
    sync_api.expect(page.get_by_role("region", name="params")).to_contain_text(SCRIPT)
    sync_api.expect(page.get_by_role("region", name="params")).to_contain_text("absent")
    assert page.locator("#page script").count() == 0


def test_many_are_drawn(page: Any) -> None:
    """Scatter, parallel coordinates and the shares of params say in words what they show."""
    open_view(page, "scatter")
    page.get_by_role("combobox", name="colour").fill("kind")
    page.get_by_role("combobox", name="colour").press("Enter")
    sync_api.expect(page.get_by_role("img", name="loss over lr: 5 experiments")).to_be_visible()
    assert "axes=params.lr,metrics.loss,kind" in page.url
    open_view(page, "parallel")
    sync_api.expect(page.get_by_role("img", name="5 experiments over")).to_be_visible()
    open_view(page, "params")
    sync_api.expect(page.locator("main")).to_contain_text("analysis of variance")
    open_view(page, "media")
    sync_api.expect(page.get_by_role("heading", name="seen")).to_be_visible()


def test_sql_is_answered(page: Any) -> None:
    """A query is answered by a table and a chart, a wrong one by a sentence; the address keeps it."""
    open_view(page, "sql")
    page.get_by_label("SQL", exact=True).fill("select name, params.lr, metrics.loss.last from experiments order by 2")
    page.get_by_label("SQL", exact=True).press("Control+Enter")
    sync_api.expect(page.get_by_role("row")).to_have_count(5 + 6)
    sync_api.expect(page.get_by_role("img", name="last over lr")).to_be_visible()
    page.reload()
    sync_api.expect(page.get_by_role("img", name="last over lr")).to_be_visible()
    page.get_by_label("SQL", exact=True).fill("select nme from experiments")
    page.get_by_role("button", name="run").click()
    sync_api.expect(page.get_by_role("alert")).to_contain_text("nme")


def test_code_is_given(page: Any) -> None:
    """The lines that make the view stand beside it."""
    page.locator("#filter").fill("params.lr < 0.2")
    page.locator("#filter").press("Enter")
    open_view(page, "code")
    for label in ("Python", "SQL", "Shell"):
        sync_api.expect(page.get_by_label(label, exact=True)).to_contain_text("params.lr < 0.2")


def test_columns_are_chosen_pinned_and_grouped(page: Any) -> None:
    """Columns come and go, one that is pinned stays at the left, and rows are divided by a param; the address keeps it all."""
    page.locator("summary", has_text="columns").click()
    page.get_by_label("Columns").fill("duration")
    page.get_by_role("checkbox", name="duration").uncheck()
    sync_api.expect(page.get_by_role("columnheader", name="duration")).to_have_count(0)
    page.get_by_label("Columns").fill("lr")
    page.get_by_role("button", name="pin lr").click()
    page.get_by_label("group by").select_option("params.lr")
    page.reload()
    sync_api.expect(page.locator(".row.group")).to_have_count(5)
    header = page.get_by_role("columnheader", name="lr")
    before = header.bounding_box()["x"]
    page.locator(".table").evaluate("table => table.scrollLeft = 200")
    assert header.bounding_box()["x"] == before
    sync_api.expect(page.get_by_role("columnheader", name="duration")).to_have_count(0)


def test_past_moment_is_shown(page: Any, address: str) -> None:
    """As of a moment before the first experiment there is none; back to now all are there again."""
    page.locator("summary", has_text="views").click()
    page.get_by_label("As of").fill("2001-01-01T00:00:00Z")
    page.get_by_label("As of").press("Enter")
    sync_api.expect(page.locator(".counts").first).to_have_text("0 experiments")
    sync_api.expect(page.locator(".live")).to_have_text("off")
    page.go_back()
    sync_api.expect(page.locator(".counts").first).to_have_text("5 experiments")
    sync_api.expect(page.locator(".live")).to_have_text("live")


def test_own_things_are_kept(browser: Any, root: Path, tmp_path: Path) -> None:
    """A star, a saved view and the width of the list outlive a reload, and are written beside the experiments only."""
    folder = shutil.copytree(root, tmp_path / "runs")
    before = sorted(path for path in folder.rglob("*") if ".mlv" not in path.parts)
    with served(folder) as address, opened(browser, address) as page:
        page.get_by_role("link", name="plain", exact=True).hover()
        page.get_by_role("button", name="star plain").click()
        sync_api.expect(page.get_by_role("button", name="star plain")).to_have_attribute("aria-pressed", "true")
        page.get_by_role("button", name="pick spiky").click()
        page.get_by_role("separator", name="Width of the list").press("ArrowRight")
        page.locator("summary", has_text="views").click()
        page.get_by_label("Name of this view").fill("the spike")
        page.get_by_role("button", name="save").click()
        sync_api.expect(page.get_by_role("link", name="the spike")).to_be_visible()
        open_list(page, address)
        sync_api.expect(page.get_by_role("separator", name="Width of the list")).to_have_attribute("aria-valuenow", "48")
        page.locator("summary", has_text="views").click()
        page.get_by_label("only with a star").check()
        sync_api.expect(page.locator(".rows .row")).to_have_count(1)
        page.get_by_role("link", name="the spike").click()
        sync_api.expect(page.locator(".rows .row.picked")).to_have_count(1)
        page.get_by_role("link", name="plain", exact=True).click()
        page.get_by_label("Private note").fill(SCRIPT)
        page.get_by_role("button", name="save").click()
        page.reload()
        sync_api.expect(page.get_by_label("Private note")).to_have_value(SCRIPT)
    assert sorted(path for path in folder.rglob("*") if ".mlv" not in path.parts) == before


@pytest.mark.parametrize("name", ["site", "site.html"])
def test_export_opens_without_a_server(browser: Any, root: Path, tmp_path: Path, name: str) -> None:
    """The exported page, a folder or one file, draws every spike and shows media from file://; its address is the view."""
    export(root, tmp_path / name, with_files="media")
    file = tmp_path / name / "index.html" if name == "site" else tmp_path / name
    with opened(browser, file.as_uri()) as page:
        page.get_by_role("button", name="pick spiky").click()
        wait_until(page, lambda: high_columns(page)[0])
        sync_api.expect(page.locator(".foot")).to_contain_text("of 10,202 points, extremes among them, 1 NaN, 1 infinite")
        page.reload()
        sync_api.expect(page.locator(".rows .row.picked")).to_have_count(1)
        open_part(page, "plain", "media")
        sync_api.expect(page.locator(".medium.image .box")).to_have_text(SCRIPT)
        assert page.locator(".medium.image img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 4
        page.go_back()
        page.go_back()
        sync_api.expect(page.locator(".rows .row.picked")).to_have_count(1)


def test_chart_is_taken_along(page: Any) -> None:
    """A chart is saved as SVG with its spike, and as CSV of all points; it is a table too."""
    page.get_by_role("button", name="pick spiky").click()
    wait_until(page, lambda: high_columns(page)[0])
    with page.expect_download() as drawing:
        page.get_by_role("button", name="SVG").click()
    assert "loss" in drawing.value.path().read_text()
    with page.expect_download() as points:
        page.get_by_role("link", name="CSV").click()
    lines = points.value.path().read_text().splitlines()
    assert len(lines) == 1 + 10_202
    assert [float(line.split(",")[2]) for line in lines[1:] if float(line.rpartition(",")[2]) == 50] == [SPIKE]
    page.get_by_role("button", name="table").click()
    row = page.get_by_role("region", name="loss as a table").get_by_role("row", name="spiky")
    sync_api.expect(row).to_contain_text("50")


def test_axes_are_chosen(page: Any) -> None:
    """An axis of logarithms with negative values says that it is one of arcsinh; the address keeps axis and zoom."""
    page.get_by_label("log y").check()
    sync_api.expect(page.locator("figcaption")).to_contain_text("arcsinh axis")
    page.get_by_label("bands over").fill("seed")
    page.get_by_label("bands over").press("Enter")
    sync_api.expect(page.locator(".foot")).to_contain_text("bands of 5 curves")
    page.get_by_label("bands over").fill("")
    page.get_by_label("bands over").press("Enter")
    page.locator("figure.chart").focus()
    page.keyboard.press("+")
    sync_api.expect(page.get_by_role("button", name="zoom out")).to_be_visible()
    assert "y=log&zoom=" in page.url
    page.go_back()
    sync_api.expect(page.get_by_role("button", name="zoom out")).to_have_count(0)


def test_nothing_is_asked_while_nobody_looks(page: Any) -> None:
    """A page that is hidden asks nothing, and goes on when it is looked at."""
    sync_api.expect(page.locator(".live")).to_have_text("live")
    look(page, "hidden")
    sync_api.expect(page.locator(".live")).to_have_text("waiting")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2500)
    assert asked == []
    look(page, "visible")
    sync_api.expect(page.locator(".live")).to_have_text("live")


def look(page: Any, state: str) -> None:
    """Hide or show a page, as a browser does that changes tabs."""
    page.evaluate(
        """state => {
          Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });
          document.dispatchEvent(new Event('visibilitychange'));
        }""",
        state,
    )


def test_what_is_being_written_stays(page: Any) -> None:
    """A field keeps what the reader is writing while the page is drawn anew."""
    page.get_by_label("bands over").fill("see")
    page.get_by_label("log x").evaluate("box => box.click()")  # which leaves the field its focus
    sync_api.expect(page.get_by_label("log x")).to_be_checked()
    sync_api.expect(page.get_by_label("bands over")).to_have_value("see")
    assert "over=" not in page.url


def test_files_are_listed_with_their_line(page: Any) -> None:
    """Checkpoints and files have size, digest and the line that names them."""
    open_part(page, "plain", "files")
    sync_api.expect(page.locator("main")).to_contain_text("models/")
    row = page.get_by_role("row", name="notes.txt")
    sync_api.expect(row).to_contain_text("5 B")
    with page.context.expect_page() as opened_file:
        row.get_by_role("link", name="notes.txt").click()
    sync_api.expect(opened_file.value.locator("body")).to_have_text("words")
    row.get_by_role("link", name="r").last.click()
    sync_api.expect(page.locator(".line pre").first).to_contain_text("notes.txt")


def findings(page: Any, part: str = "html") -> list[Any]:
    """Return what axe-core, which the page has, finds in a part of it."""
    violations = page.evaluate("part => axe.run(part, {resultTypes: ['violations']})", part)["violations"]
    return [(finding["id"], finding["nodes"][0]["html"]) for finding in violations]


def test_points_are_drawn_as_they_are_logged(browser: Any, tmp_path: Path) -> None:
    """Points that are logged while the page is open are drawn, and what the reader set stays."""
    with mlv.Exp(tmp_path / "runs", "growing", capture=()) as exp:
        for step in range(50):
            exp.log({"loss": 1.0}, step=step)
        exp.flush()
        with served(tmp_path / "runs") as address, opened(browser, address) as page:
            page.get_by_role("button", name="pick growing").click()
            sync_api.expect(page.locator(".foot")).to_contain_text("50 points")
            sync_api.expect(page.locator(".live")).to_have_text("live")
            url = page.url
            exp.log({"loss": 7.5}, step=50)
            sync_api.expect(page.locator(".foot")).to_contain_text("51 points")
            sync_api.expect(page.locator(".readout")).to_contain_text("7.5")
            assert page.url == url


def test_seven_tabs_share_one_stream(browser: Any, tmp_path: Path) -> None:
    """Seven tabs open, though a browser allows six connections; each draws a new point, also when the first has closed."""
    with mlv.Exp(tmp_path / "runs", "growing", capture=()) as exp:
        exp.log({"loss": 1.0}, step=0)
        exp.log({"loss": 1.0}, step=1)
        exp.flush()
        with served(tmp_path / "runs") as address, opened(browser, address) as first:
            tabs = [first.context.new_page() for _ in range(6)]
            for tab in tabs:
                open_list(tab, address)
            for tab in tabs:
                sync_api.expect(tab.locator(".live")).to_have_text("live")
            exp.log({"loss": 2.0}, step=2)
            for tab in tabs:
                sync_api.expect(tab.locator(".foot")).to_contain_text("3 points")
            first.close()
            sync_api.expect(tabs[0].locator(".live")).to_have_text("live")
            exp.log({"loss": 3.0}, step=3)
            sync_api.expect(tabs[-1].locator(".foot")).to_contain_text("4 points")


def test_lost_connection_is_said_and_resumes(browser: Any, root: Path) -> None:
    """A dot says that the server is gone, and that it is back."""
    with served(root) as address:
        port = int(address.split(":")[2].split("/")[0])
        context = browser.new_context()
        page = context.new_page()
        open_list(page, address)
        sync_api.expect(page.locator(".live")).to_have_text("live")
    sync_api.expect(page.locator(".live")).to_have_text("lost")
    with served(root, port):
        sync_api.expect(page.locator(".live")).to_have_text("live")
        context.close()

"""The page in a real browser, under the content policy of the server, over points planted by the test."""

from __future__ import annotations

import json
import math
import shutil
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
REPOSITORY = Path(__file__).parents[2]
STATIC = REPOSITORY / "mlv" / "web" / "static"
AXE = REPOSITORY / "web" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
    pytest.mark.skipif(not (STATIC / "page.js").exists(), reason="the page is not built: npm ci && npm run build in web/"),
]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; require-trusted-types-for 'script'"
)
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html; charset=utf-8"}
HOSTILE = "<script>document.title='taken'</script><img src=x onerror=alert(1)>"
NAMES = ["plain", "spiky", "broken", HOSTILE, "inner"]
IDS = [f"{number:x}" * 64 for number in range(1, 1 + len(NAMES))]
SPIKE = 5003


def planted(number: int) -> list[float]:
    """Return the points of an experiment: a flat line, with a spike, a NaN or an infinity."""
    points = [math.sin(step / 50) / 10 for step in range(10_000)]
    if number == 1:
        points[SPIKE] = 50.0
    if number == 2:
        points[10], points[20] = math.nan, math.inf
    return points


class Server(ThreadingHTTPServer):
    """Answers the page's questions as the contract says, from points in memory."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.points = {identifier: planted(number) for number, identifier in enumerate(IDS)}
        self.age = time.time()
        self.version = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/token/"

    def append(self, identifier: str, value: float) -> None:
        """Log a point, so that the index says that something changed."""
        self.points[identifier].append(value)
        self.age += 1
        self.version += 1


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def send(self, body: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        for name, value in [("Content-Type", kind), ("Content-Length", str(len(body))), ("Content-Security-Policy", POLICY)]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        path = url.path.removeprefix("/token/")
        if path == "" or path.startswith("e/"):
            page = (STATIC / "index.html").read_text()
            self.send((page.replace('"static/', '"../static/') if path else page).encode(), KINDS[".html"])
        elif path.startswith("static/"):
            file = STATIC / Path(path).name
            self.send(file.read_bytes(), KINDS[file.suffix])
        elif path == "api/index":
            self.send(json.dumps(self.index(query.get("since"))).encode(), "application/json")
        elif path == "api/select" and "lr" in query["where"]:
            self.send(json.dumps({"ids": IDS[:2]}).encode(), "application/json")
        elif path == "api/curves":
            self.send(self.curves(query), "application/octet-stream")
        else:
            self.send(b'{"error": "There is no column lrr: lr is close."}', "application/json", 400)

    def index(self, since: str | None) -> dict[str, Any]:
        answer = {"cursor": f"k.{self.server.version}", "root": "/runs", "complete": True, "reset": not since, "gone": []}
        if since == answer["cursor"]:
            return {**answer, "n": 0, "columns": {}}
        n = len(IDS)
        last = [50.0] + [0.1] * (n - 1)
        columns = {
            "id": IDS,
            "name": NAMES,
            "path": NAMES,
            "parent": [None] * (n - 1) + [IDS[0]],
            "created": [1e9 - number for number in range(n)],
            "age": [self.server.age] * n,
            "duration": [5.0] * n,
            "status": ["running"] * n,
            "tags": [["javascript:alert(1)"]] * n,
            "archived": [False] * n,
            "params": {"lr": [0.1 * number for number in range(n)]},
            "metrics": {"loss": {"last": last, "min": last, "max": last}},
        }
        return {**answer, "n": n, "columns": columns}

    def curves(self, query: dict[str, str]) -> bytes:
        size = int(query["px"])
        drawn = [next(whole for whole in IDS if whole.startswith(start)) for start in query["ids"].split(",")]
        end = max(len(self.server.points[identifier]) for identifier in drawn) - 1
        low, high = float(query.get("from", 0)), float(query.get("to", end))
        heads, blocks = [], []
        for identifier in drawn:
            head, columns = fold(self.server.points[identifier], low, high, size)
            heads.append({"id": identifier, **head})
            blocks.extend(columns)
        head = json.dumps({"m": query["m"], "from": low, "to": high, "n": size, "curves": heads}).encode()
        head += b" " * (-(4 + len(head)) % 8)
        return struct.pack("<I", len(head)) + head + b"".join(struct.pack(f"<{size}d", *block) for block in blocks)


def fold(points: list[float], low: float, high: float, size: int) -> tuple[dict[str, Any], list[list[float]]]:
    """Put points into columns of pixels: first, least, greatest and last of each."""
    columns: list[list[float]] = [[] for _ in range(size)]
    marks: list[tuple[int, str, int]] = []
    for step, value in enumerate(points):
        if low <= step <= high:
            column = min(int((step - low) / (high - low) * size), size - 1)
            if math.isfinite(value):
                columns[column].append(value)
            else:
                marks.append((column, "nan" if math.isnan(value) else "inf", 1))
    choices = (lambda column: column[0], min, max, lambda column: column[-1])
    blocks = [[choice(column) if column else math.nan for column in columns] for choice in choices]
    kinds = [kind for _, kind, _ in marks]
    head = {"points": sum(map(len, columns)), "nan": kinds.count("nan"), "inf": kinds.count("inf"), "marks": marks}
    return {**head, "x0": low, "x1": high, "arrays": ["first", "min", "max", "last"]}, blocks


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_api.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """A page on the list; a violation of the policy, or an error of a script, fails the test."""
    context = browser.new_context(viewport={"width": 1200, "height": 800}, color_scheme="light", reduced_motion="reduce")
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    open_list(page, server.address)
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
    assert all(abs(column / width - SPIKE / 10_000) < 0.01 for column in columns)


def test_nonfinite_is_counted(page: Any) -> None:
    """A chart says how many points it stands for, and how many are none."""
    sync_api.expect(page.locator(".foot")).to_have_text("5 curves, 49,998 points, 1 NaN, 1 infinite")


def test_colors_stay(page: Any, server: Server) -> None:
    """Colours stay through a filter, a sort, another pick and a reload; a freed one goes to the next pick."""
    page.get_by_role("button", name="pick plain").click()
    page.get_by_role("button", name="pick spiky").click()
    before = dots(page)
    assert len(set(before.values())) == 2
    page.get_by_role("button", name="pick plain").click()
    page.locator("#filter").fill("lr < 0.2")
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
    page.locator("#filter").fill("1 = ")
    page.locator("#filter").press("Enter")
    sync_api.expect(page.get_by_role("alert")).to_have_text("There is no column lrr: lr is close.")
    assert page.locator(".rows .row").count() == 4


def test_hostile_names_are_text(page: Any, server: Server) -> None:
    """A name that looks like HTML is shown as it is, in the list and on its own page, and runs nothing."""
    page.get_by_role("link", name=HOSTILE).click()
    sync_api.expect(page.get_by_role("heading", level=1)).to_contain_text(HOSTILE)
    assert page.locator("#page script, #page img, [href^='javascript']").count() == 0
    assert page.title() == f"{HOSTILE} · mlv"


def test_narrow_screen(page: Any) -> None:
    """At 400 pixels nothing hangs over the side."""
    page.set_viewport_size({"width": 400, "height": 800})
    page.locator(".chart canvas").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 400


def test_keyboard_alone(page: Any) -> None:
    """Rows are reached, picked and opened without a mouse, and ? lists the keys."""
    page.keyboard.press("j")
    for key in ("j", "x", "Home", "ArrowRight"):
        page.keyboard.press(key)
    sync_api.expect(page.locator(".rows .row")).to_have_count(5)
    assert list(dots(page)) == ["spiky"]
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


@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core: npm ci in web/")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe(page: Any, server: Server, scheme: str) -> None:
    """axe-core finds nothing on the list and on an experiment's page, light and dark."""
    page.emulate_media(color_scheme=scheme)
    page.get_by_role("button", name="pick plain").click()
    findings = []
    for address in (page.url, f"{server.address}e/{IDS[1][:12]}"):
        page.goto(address)
        page.locator(".chart canvas").first.wait_for()
        page.evaluate(AXE.read_text())
        findings += [(finding["id"], finding["nodes"][0]["html"]) for finding in page.evaluate("axe.run()")["violations"]]
    assert findings == []


def test_live_points(page: Any, server: Server) -> None:
    """Points that are logged while the page is open are drawn, and what the reader set stays."""
    page.get_by_role("button", name="pick plain").click()
    sync_api.expect(page.locator(".foot")).to_contain_text("49,998 points")
    address = page.url

    server.append(IDS[0], 0.5)

    sync_api.expect(page.locator(".foot")).to_contain_text("49,999 points", timeout=30_000)
    assert page.url == address

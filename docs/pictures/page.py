"""Take the picture of the page of `mlv ui` that the front page shows: networks trained on digits, in a browser.

python docs/pictures/page.py --out docs/pictures/page.png

It needs `pip install "mlvlogger[ui]" scikit-learn playwright` and a chromium on the PATH.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from sweep_digits import RATES, train

SEEDS, EPOCHS = 3, 30
SIZE = {"width": 1280, "height": 720}
VIEW = "?cols=name,spark.test/loss,metrics.test/acc,metrics.test/loss&group=params.lr&over=seed&y=log"
"""The address of what is shown: bands over the seeds, one for each learning rate."""


@contextmanager
def page_of(root: Path) -> Iterator[str]:
    """Serve the page of a folder; yield its address."""
    command = [sys.executable, "-m", "mlv", "ui", str(root), "--no-open", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield next(line[line.index("http://") :].strip() for line in process.stdout if "http://" in line)
        finally:
            process.terminate()


def wait_for_charts(page: Page) -> None:
    """Wait until rows, small curves and charts are drawn."""
    page.locator(".rows .row").first.wait_for()
    page.locator(".spark path").first.wait_for(state="attached")
    page.locator(".chart canvas").nth(1).wait_for()
    page.locator(".readout b").nth(2).wait_for()


def main() -> None:
    """Train, serve, look, and write the picture."""
    parser = ArgumentParser(description="Take a picture of the page of mlv ui on digits.")
    parser.add_argument("--out", type=Path, default=Path("page.png"), help="the picture (default: %(default)s)")
    parser.add_argument("--scheme", choices=("light", "dark"), default="light", help="colours (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        root = Path(folder) / "digits"
        for lr in RATES:
            for seed in range(SEEDS):
                train(root, lr, seed, EPOCHS)
        options = ["--no-sandbox", "--disable-background-networking"]
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        with page_of(root) as address:
            page = browser.new_page(viewport=SIZE, color_scheme=args.scheme, device_scale_factor=1.5)
            page.goto(address + VIEW)
            wait_for_charts(page)
            page.screenshot(path=args.out)
        browser.close()


if __name__ == "__main__":
    main()

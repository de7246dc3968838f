"""The training process knows, without importing anything, what a worker will lack."""

from __future__ import annotations

import sys

import pytest

from mlv import optional
from mlv.media.extras import missing_extra

WITHOUT_PILLOW = "Pillow is not installed: images are stored as .npy; pip install 'mlvlogger[media]'"
WITHOUT_FFMPEG = "imageio-ffmpeg is not installed: videos are stored as .npy; pip install 'mlvlogger[media]'"


@pytest.fixture
def without(monkeypatch):
    """Packages that are not installed."""

    def hide(*modules):
        for module in ("PIL", "imageio_ffmpeg"):
            monkeypatch.setattr(sys, "path", [])
            monkeypatch.setitem(sys.modules, module, None if module in modules else sys)
        optional.is_installed.cache_clear()

    yield hide
    optional.is_installed.cache_clear()


@pytest.mark.parametrize(
    ("kind", "hidden", "expected"),
    [
        ("image", ["PIL"], WITHOUT_PILLOW),
        ("image", ["imageio_ffmpeg"], None),
        (
            "video",
            ["imageio_ffmpeg"],
            "imageio-ffmpeg is not installed: videos are stored as .npy; pip install 'mlvlogger[media]'",
        ),
        ("figure", ["PIL", "imageio_ffmpeg"], None),
        ("audio", ["PIL", "imageio_ffmpeg"], None),
    ],
)
def test_what_is_missing(without, kind, hidden, expected):
    """The sentence names the packages, what happens without them, and the extra."""
    without(*hidden)

    assert missing_extra(kind) == expected


@pytest.mark.parametrize(
    ("kind", "options", "is_missing"),
    [
        ("image", {"images": [{"shape": [1, 1]}]}, True),
        ("image", {"images": [{"suffix": ".png"}]}, False),
        ("image", {"images": [{"suffix": ".png"}, {"shape": [1, 1]}]}, True),
        ("image", {"images": [{"suffix": ".png"}], "masks": {"a": {}}}, True),
        ("video", {"frames": [], "format": "gif"}, True),
        ("video", {"frames": [], "format": "mp4"}, False),
        ("video", {"video": {"suffix": ".mp4"}}, False),
    ],
)
def test_what_an_event_needs(without, kind, options, is_missing):
    """Files that are stored as they are need nothing."""
    without("PIL")

    assert (missing_extra(kind, options) is not None) is is_missing


def test_nothing_is_imported(python):
    """It only looks whether the packages are there."""
    done = python("""
        import sys
        from mlv.media import audio, document, extras, figure, image, video
        extras.missing_extra("image"), extras.missing_extra("video")
        print(sorted({"PIL", "imageio_ffmpeg", "numpy", "torch", "matplotlib"} & set(sys.modules)))
    """)

    assert (done.stdout, done.stderr) == ("[]\n", "")

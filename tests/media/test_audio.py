"""Samples become WAV files; files of sounds are stored as they are."""

from __future__ import annotations

import io
import math
import struct
import wave

import pytest

from media.places import Folder
from mlv.media import audio
from mlv.media.jobs import Unusable

numpy = pytest.importorskip("numpy")

RANDOM = numpy.random.default_rng(0)


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "media")


def read(path):
    """Parameters and samples (n, channels) of a WAV."""
    with wave.open(str(path)) as file:
        parameters = file.getparams()
        samples = numpy.frombuffer(file.readframes(parameters.nframes), f"<i{parameters.sampwidth}")
    return parameters, samples.reshape(-1, parameters.nchannels)


def test_what_is_left(folder):
    """One WAV of 16 bits, and data that says how long it is."""
    data = folder.data(audio.prepare(numpy.array([0.0, 0.5, -0.5, 1.0, -1.0]), 10, caption="a click"))

    parameters, samples = read(folder.at(data["file"]))
    assert data == {"file": data["file"], "rate": 10, "channels": 1, "duration_s": 0.5, "caption": "a click"}
    assert data["file"]["media_type"] == "audio/wav"
    assert (parameters.framerate, parameters.sampwidth) == (10, 2)
    assert samples[:, 0].tolist() == [0, 16384, -16384, 32767, -32767]


@pytest.mark.parametrize(
    ("shape", "channels"), [((7,), 1), ((7, 1), 1), ((7, 2), 2), ((2, 7), 2), ((1, 7), 1), ((2, 2), 2), ((64, 900), 64)]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_shapes(folder, shape, channels, order):
    """The shorter axis is that of the channels, and the second one where they are equal."""
    value = RANDOM.integers(-100, 100, shape).astype("i2", order=order)

    data = folder.data(audio.prepare(value, 8000))

    _, samples = read(folder.at(data["file"]))
    expected = value.T if shape[0] < shape[-1] else value.reshape(len(value), -1)
    assert data["channels"] == channels
    assert numpy.array_equal(samples, expected)


@pytest.mark.parametrize(
    ("dtype", "values", "expected", "width"),
    [
        ("int16", [-32768, 0, 32767], [-32768, 0, 32767], 2),
        (">i2", [-32768, 0, 32767], [-32768, 0, 32767], 2),
        ("int32", [-(2**31), 5, 2**31 - 1], [-(2**31), 5, 2**31 - 1], 4),
        ("uint8", [0, 128, 255], [-32768, 0, 127 * 256], 2),
        ("float16", [-1, 0, 1], [-32767, 0, 32767], 2),
        ("float32", [-1, 0, 1], [-32767, 0, 32767], 2),
        (">f8", [-1, 0, 1], [-32767, 0, 32767], 2),
    ],
)
def test_dtypes(folder, dtype, values, expected, width):
    """Each dtype is stored with its own scale."""
    data = folder.data(audio.prepare(numpy.array(values, dtype), 8000))

    parameters, samples = read(folder.at(data["file"]))
    assert parameters.sampwidth == width
    assert samples[:, 0].tolist() == expected


def test_clipped(folder):
    """What lies beyond the range is cut off, and the event says how much that was."""
    data = folder.data(audio.prepare(numpy.array([0.5, 1.5, -7.0]), 8000))

    assert data["clipped"] == 2
    assert read(folder.at(data["file"]))[1][:, 0].tolist() == [16384, 32767, -32767]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_samples_that_are_not_finite(folder, bad):
    """A worker rejects the event, and says how many there were."""
    assert "1 of 3 samples that are NaN or infinite" in folder.reason(audio.prepare(numpy.array([0, bad, 1]), 8000))


def test_tensors(folder):
    """Tensors of torch are taken with their gradients."""
    torch = pytest.importorskip("torch")

    data = folder.data(audio.prepare(torch.zeros(2, 800, dtype=torch.bfloat16, requires_grad=True), 8000))

    assert (data["channels"], data["duration_s"]) == (2, 0.1)


@pytest.mark.parametrize("rate", [44_100, 44_100.0, numpy.int64(44_100), numpy.float32(44_100), "44100"])
def test_rates(folder, rate):
    """Whatever is a whole number is a rate."""
    assert folder.data(audio.prepare(numpy.zeros(10), rate))["rate"] == 44_100


@pytest.mark.parametrize("rate", [None, 0, -1, 22_050.5, math.nan, math.inf, "fast", [1, 2], 10**400, 10**8])
def test_what_is_no_rate(rate):
    """It is refused at once."""
    with pytest.raises(Unusable, match="is no rate"):
        audio.prepare(numpy.zeros(10), rate)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (numpy.zeros(5, "i8"), "dtype int64 is no sound: give floats"),
        (numpy.zeros(5, bool), "dtype bool"),
        (numpy.zeros(5, complex), "dtype complex128"),
        (numpy.zeros((2, 2, 2)), r"shape \(2, 2, 2\) is no sound: known are \(n,\)"),
        (numpy.zeros(()), r"shape \(\)"),
        (numpy.zeros(0), r"shape \(0,\)"),
        (numpy.zeros((100, 200)), "more than 64 channels"),
        ([0.1, 0.2], "type list is no array"),
        ("missing.wav", "cannot be read: No such file"),
        (b"RIFF....AVI ", "bytes given are no sound that is known: WAV, FLAC, OGG, MP3"),
    ],
)
def test_what_is_no_sound(value, reason):
    """It is refused at once, and the text says what was seen and what is known."""
    with pytest.raises(Unusable, match=reason):
        audio.prepare(value, 8000)


# Files.


def wav(rate=8000, channels=2, samples=800):
    file = io.BytesIO()
    with wave.open(file, "wb") as writing:
        writing.setnchannels(channels)
        writing.setsampwidth(2)
        writing.setframerate(rate)
        writing.writeframes(bytes(2 * channels * samples))
    return file.getvalue()


def flac(rate=44_100, channels=2, samples=88_200):
    packed = rate << 44 | channels - 1 << 41 | 15 << 36 | samples
    return b"fLaC" + bytes([0x80, 0, 0, 34]) + bytes(10) + struct.pack(">Q", packed) + bytes(16)


@pytest.mark.parametrize("as_path", [True, False])
@pytest.mark.parametrize(
    ("content", "suffix", "expected"),
    [
        (wav(), ".wav", {"rate": 8000, "channels": 2, "duration_s": 0.1}),
        (flac(), ".flac", {"rate": 44_100, "channels": 2, "duration_s": 2.0}),
        (flac(samples=0), ".flac", {"rate": 44_100, "channels": 2}),
        (b"ID3\x04 and so on", ".mp3", {}),
        (b"\xff\xfb\x90\x00 and so on", ".mp3", {}),
        (b"OggS and so on", ".ogg", {}),
    ],
)
def test_files(folder, tmp_path, as_path, content, suffix, expected):
    """Not a byte changes; rate, channels and duration are those that the file says."""
    path = tmp_path / "sound"
    path.write_bytes(content)

    data = folder.data(audio.prepare(path if as_path else content))

    stored = folder.at(data.pop("file"))
    assert (stored.suffix, stored.read_bytes()) == (suffix, content)
    assert data == expected


def test_a_rate_that_is_given(folder):
    """It comes before the one that is found."""
    assert folder.data(audio.prepare(b"OggS...", 16_000))["rate"] == 16_000


def test_a_wav_of_a_pipe(folder):
    """What could not know its length when it began is as long as the file is."""
    content = bytearray(wav(samples=400))
    content[40:44] = b"\xff\xff\xff\xff"

    assert folder.data(audio.prepare(content))["duration_s"] == 0.05


@pytest.mark.parametrize("content", [wav()[:30], flac()[:20]])
def test_half_a_file(folder, content):
    """What ends within its own head is no sound."""
    assert "cannot be read" in folder.reason(audio.prepare(content))

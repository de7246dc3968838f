"""Images: handed over as they lie in memory, and stored by a worker as PNG; files are stored as they are."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mlv.encoding import shown
from mlv.media import npy, pixels
from mlv.media.extras import PILLOW
from mlv.media.given import Formats, formats, given_file, received
from mlv.media.jobs import Prepared, Target, Unusable
from mlv.protocols import Buffer

FORMATS: Formats = formats(
    png=rb"\x89PNG\r\n\x1a\n", jpg=rb"\xff\xd8\xff", gif=rb"GIF8[79]a", webp=rb"RIFF....WEBP", bmp=rb"BM....\0\0\0\0"
)

# Level 1 with runs only is both: the fastest to write, and the smallest file of a photograph. Measured for 256x256x3: a
# photograph takes 4.5 ms and 115 kB, noise 4.6 ms and 197 kB; the usual level 6 takes 9.5 ms and 115 kB, 6.3 ms and 197 kB.
_PNG = {"compress_level": 1, "compress_type": zlib.Z_RLE}
_MOST_CLASSES = 65_535  # a PNG has 16 bits for each pixel


# In the training process.


def needed_package(options: Mapping[str, Any]) -> str | None:
    """Return the package that a worker needs for an event with these options: none where all images are files already."""
    has_pixels = any("suffix" not in image for image in options.get("images", ({},)))
    return PILLOW if has_pixels or options.get("masks") else None


def prepare(value: Any, *, caption: Any = None, boxes: Any = None, masks: Any = None, layout: str | None = None) -> Prepared:
    """Recognise one image, and look at it no closer: its values are checked by a worker.

    Args:
        value: An array or tensor of shape HW, HWC or CHW with 1 to 4 channels (grey, grey and alpha, RGB, RGBA), or a batch
            of one; uint8, bool, other integers in 0..255, or floats in 0..1. Or an image of Pillow. Or a PNG, JPEG, GIF, WebP
            or BMP as a path or as bytes, which is stored as it is. Where both ends of a shape may be channels, as in
            (3, 3, 3), HWC wins.
        caption: A text.
        boxes: Of each box a mapping: `box` with x0, y0, x1, y1 in pixels, and if wanted `label` and `score`; other keys are
            kept. Or an array of shape (n, 4).
        masks: Of each name an array HW of the image's size with the number of a class for each pixel, 0 to 65535, or bool;
            or a mapping with such a `mask`, and `classes`: the meaning of the numbers.
        layout: Such as `CHW`, where the rule above is wrong.

    Raises:
        Unusable: It is no image, or its boxes or masks are none.
    """
    description, buffers = _described(value, lambda array: pixels.one_image(array, layout))
    options: dict[str, Any] = {"images": [description]}
    if caption is not None:
        options["caption"] = caption
    if boxes is not None:
        options["boxes"] = [_box(box) for box in _items(boxes, "boxes")]
    if masks is not None:
        options["masks"] = {}
        for name, mask in _mapping(masks, "masks").items():
            if str(name) in options["masks"]:
                raise Unusable(f"two masks are named {str(name)!r}")
            options["masks"][str(name)], memory = _mask(str(name), mask)
            buffers.append(memory)
    return Prepared("image", "image", options, buffers)


def prepare_many(values: Any, *, captions: Any = None, layout: str | None = None) -> Prepared:
    """Recognise images for one event: an array of shape NHW, NHWC or NCHW, or a list of values for `prepare`, of any sizes.

    Args:
        values: The array, or the list.
        captions: A text for each image.
        layout: Of the array, or of each one in the list.

    Raises:
        Unusable: They are no images, or there are none, or not as many captions.
    """
    descriptions: list[dict[str, Any]] = []
    buffers: list[Buffer] = []
    # One by one, since those of a list may differ in size and kind; an array is one piece of memory.
    if isinstance(values, (list, tuple)):
        for number, value in enumerate(values):
            try:
                description, content = _described(value, lambda array: pixels.one_image(array, layout))
            except Unusable as error:
                raise Unusable(f"image {number} of {len(values)}: {error}") from error
            descriptions.append(description)
            buffers += content
    else:
        description, memory = pixels.many_images(values, "N", layout)
        descriptions, buffers = [description], [memory]
    images = sum(pixels.count(entry) if "shape" in entry else 1 for entry in descriptions)
    if not images:
        raise Unusable("there are no images in an empty list")
    options: dict[str, Any] = {"images": descriptions, "several": True}
    if captions is not None:
        options["captions"] = _items(captions, "captions")
        if len(options["captions"]) != images:
            raise Unusable(f"there are {len(options['captions'])} captions for {images} images: give one for each")
    return Prepared("image", "image", options, buffers)


def _described(value: Any, of_array: Callable[[Any], pixels.Described]) -> tuple[dict[str, Any], list[Buffer]]:
    file = given_file(value, FORMATS, "image")
    if file is not None:
        return file
    description, memory = of_array(value)
    return description, [memory]


def _box(box: Any) -> dict[str, Any]:
    """Return a box with plain numbers.

    Raises:
        Unusable: It is none.
    """
    fields = dict(box) if isinstance(box, Mapping) else {"box": box}
    try:
        left, top, right, bottom = (float(number) for number in fields["box"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise Unusable(f"{shown(box)} is no box: give {{'box': [x0, y0, x1, y1]}} in pixels, and a label and score") from None
    if not (left <= right and top <= bottom and right - left < float("inf") and bottom - top < float("inf")):
        raise Unusable(f"the box {[left, top, right, bottom]} is not finite, or not in the order x0, y0, x1, y1")
    return {**fields, "box": [left, top, right, bottom]}


def _mask(name: str, mask: Any) -> tuple[dict[str, Any], Buffer]:
    fields = dict(mask) if isinstance(mask, Mapping) else {"mask": mask}
    try:
        array = pixels.as_array(fields.pop("mask", None))
    except Unusable as error:
        raise Unusable(f"mask {name!r}: {error}") from error
    if array.dtype.kind not in "bui" or array.ndim != 2 or 0 in array.shape:
        raise Unusable(
            f"mask {name!r} of shape {array.shape} and dtype {array.dtype} is none: give integers or bool of the shape HW"
        )
    description, memory = pixels.described(array, "HW")
    return {**fields, **description}, memory


def _items(values: Any, subject: str) -> list[Any]:
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise Unusable(f"{subject} are of type {type(values).__name__}: give a list")
    return list(values)


def _mapping(values: Any, subject: str) -> Mapping[Any, Any]:
    if not isinstance(values, Mapping):
        raise Unusable(f"{subject} are of type {type(values).__name__}: give a mapping of names to arrays")
    return values


# In a worker.


class _Picture(NamedTuple):
    """The file made of an image or a mask."""

    suffix: str
    content: Buffer | Callable[[str], object]
    width: int | None
    """None where Pillow is missing, and nobody looked into a file."""
    height: int | None
    channels: int | None
    clipped: int = 0


def encode(options: Mapping[str, Any], buffers: Sequence[Buffer], target: Target) -> dict[str, Any]:
    """Store images as PNG, and files as they are. Where Pillow is missing, the pixels are stored as `.npy` (HWC, uint8).

    Floats that are at most 0.1 beyond 0..1 are cut off there, and counted as `clipped` in the data.

    Raises:
        Unusable: An image has values out of range, or is no readable file, or a mask is not of its size; nothing is stored.
    """
    remaining = iter(buffers)
    pictures = [picture for description in options["images"] for picture in _pictures(description, remaining)]
    # All before the first file is stored: what turns out unusable here leaves nothing behind.
    masks = {
        name: _mask_picture(name, description, next(remaining), pictures[0])
        for name, description in options.get("masks", {}).items()
    }
    if options.get("several"):
        files = [target.file(picture.suffix, picture.content, str(number)) for number, picture in enumerate(pictures)]
        data: dict[str, Any] = {"files": files, "sizes": [[picture.width, picture.height] for picture in pictures]}
    else:
        data = _data_of(pictures[0], target)
    if any(picture.suffix == ".npy" for picture in pictures):
        data["encoding"] = "npy"
    clipped = sum(picture.clipped for picture in pictures)
    if clipped:
        data["clipped"] = clipped
    data.update({key: options[key] for key in ("caption", "captions", "boxes") if key in options})
    if masks:
        data["masks"] = {
            name: {"file": target.file(mask.suffix, mask.content, name), **_classes(options["masks"][name])}
            for name, mask in masks.items()
        }
    return data


def _data_of(picture: _Picture, target: Target) -> dict[str, Any]:
    sizes = {"width": picture.width, "height": picture.height, "channels": picture.channels}
    known_sizes = {key: size for key, size in sizes.items() if size is not None}
    return {"file": target.file(picture.suffix, picture.content), **known_sizes}


def _classes(mask: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in mask.items() if key not in ("dtype", "shape", "layout")}


def _pictures(description: Mapping[str, Any], remaining: Iterator[Buffer]) -> Iterator[_Picture]:
    if "suffix" in description:
        yield _file_picture(description, remaining)
        return
    for bitmap in pixels.pixels_in(description, next(remaining)):
        yield _drawn(pixels.MODES[bitmap.channels], bitmap, "|u1", (bitmap.height, bitmap.width, bitmap.channels))


def _file_picture(description: Mapping[str, Any], remaining: Iterator[Buffer]) -> _Picture:
    file = received(description, remaining)
    pillow = pillow_if_installed()
    if pillow is None:
        return _Picture(file.suffix, file.content, None, None, None)
    try:
        with file.open() as opened, pillow.open(opened) as image:
            image.load()
            return _Picture(file.suffix, file.content, image.width, image.height, len(image.getbands()))
    except Unusable:
        raise
    except Exception as error:  # half a file, or one made to be malicious
        raise Unusable(f"the {file.suffix[1:].upper()} cannot be read: {shown(error)}") from error


def _mask_picture(name: str, description: Mapping[str, Any], memory: Buffer, of: _Picture) -> _Picture:
    import numpy

    mask = pixels.restored(description, memory)[0, ..., 0]
    height, width = mask.shape
    if of.width is not None and (of.width, of.height) != (width, height):
        raise Unusable(f"mask {name!r} of {width}x{height} lies on an image of {of.width}x{of.height}: give one of its size")
    low, high = int(mask.min()), int(mask.max())
    if low < 0 or high > _MOST_CLASSES:
        raise Unusable(f"mask {name!r} has classes from {low} to {high}: give numbers in 0..{_MOST_CLASSES}")
    mode, descr = ("L", "|u1") if high < 256 else ("I;16", "<u2")
    content = memoryview(numpy.ascontiguousarray(mask.astype(descr))).cast("B")
    return _drawn(mode, pixels.Pixels(width, height, 1, content), descr, (height, width))


def _drawn(mode: str, bitmap: pixels.Pixels, descr: str, shape: tuple[int, ...]) -> _Picture:
    """Encode pixels as PNG, or as `.npy` without Pillow."""
    pillow = pillow_if_installed()
    if pillow is None:
        content = npy.header(descr, shape) + bytes(bitmap.data)
        return _Picture(".npy", content, bitmap.width, bitmap.height, bitmap.channels, bitmap.clipped)
    file = io.BytesIO()
    image = pillow.frombuffer(mode, (bitmap.width, bitmap.height), bitmap.data, "raw", mode, 0, 1)
    image.save(file, "PNG", **_PNG)
    return _Picture(".png", file.getbuffer(), bitmap.width, bitmap.height, bitmap.channels, bitmap.clipped)


def pillow_if_installed() -> Any:
    """Return the module `PIL.Image`, None without Pillow."""
    try:
        from PIL import Image
    except ImportError:
        return None
    return Image

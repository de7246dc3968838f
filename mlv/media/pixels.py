"""Arrays of pixels: their memory in the training process, and the images that a worker reads from it.

A layout names the axes of an array, the slowest first: H and W are rows and columns, C the channels, N images, T frames.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from mlv.encoding import shown
from mlv.media.jobs import Unusable
from mlv.protocols import Buffer

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""Pillow's word for pixels with so many channels: grey, grey and alpha, and colours without and with it."""

_DTYPES = "uint8, bool, integers in 0..255 or floats in 0..1"
_HALF_A_LEVEL = 0.5 / 255  # less is rounded away and need not be told
_SLIGHTLY = 0.1
"""How far beyond 0..1 values may lie and be cut off: filters and resizing overshoot so."""
_ARRAYS = ("__array__", "__array_interface__")
_CHANNELS_OF = {mode: channels for channels, mode in MODES.items()}

Described = tuple[dict[str, Any], Buffer]
"""The dtype, shape and layout of an array as it lies in memory, and that memory."""


# In the training process.


def one_image(value: Any, layout: str | None = None) -> Described:
    """Return the memory of one image: HW, HWC, CHW, or a batch of one. If both ends of a shape may be channels, HWC wins.

    Args:
        value: An array, a tensor, an image of Pillow, or anything that has `__array__`.
        layout: Says which axes there are, in any order, instead.

    Raises:
        Unusable: It is no such array.
    """
    return _of_pillow(value) or _described(as_array(value), lambda shape: _layout_of_one(shape, layout))


def many_images(value: Any, first: str, layout: str | None = None) -> Described:
    """Return the memory of many images of equal size in one array: `first` is the letter of the axis that counts them.

    Raises:
        Unusable: It is no such array.
    """
    return _described(as_array(value), lambda shape: _layout_of_many(shape, first, layout))


def as_array(value: Any) -> Any:
    """Return an array of numpy over the memory of an array, a tensor or any value with `__array__`.

    It is copied only where it lies on a device, or is of a dtype that numpy alone does not know, such as bfloat16.

    Raises:
        Unusable: It is none of these, or cannot be read.
    """
    torch = sys.modules.get("torch")
    try:
        if torch is not None and isinstance(value, getattr(torch, "Tensor", ())):
            return _of_tensor(value, torch)
        if any(hasattr(value, name) for name in _ARRAYS):
            import numpy

            mask = getattr(value, "mask", None)
            if mask is not None and numpy.any(mask):  # asarray would show the items under the mask
                raise Unusable("the array has masked items: fill them, as in value.filled(0)")
            array = numpy.asarray(value)
            return array.astype(numpy.float32) if array.dtype.isbuiltin == 2 else array  # of a package such as ml_dtypes
    except (Unusable, Warning):
        raise
    except Exception as error:
        raise Unusable(f"cannot be read as an array: {shown(error)}") from error
    raise Unusable(f"a value of type {type(value).__name__} is no array, no tensor, no path and no bytes of a file")


def described(array: Any, layout: str) -> Described:
    """Return the memory of an array whose axes are named, in its own order of axes; copied only where it has gaps."""
    if not array.flags.c_contiguous:
        array, layout = _as_it_lies(array, layout)
    # Of bytes: a view of any other kind cannot be cast by everybody (float16, big-endian numbers).
    memory = memoryview(array.reshape(-1).view("u1"))
    return {"dtype": array.dtype.str, "shape": list(array.shape), "layout": layout}, memory


def count(described: Mapping[str, Any]) -> int:
    """Return the number of images in an array."""
    layout, shape = described["layout"], described["shape"]
    return next((int(length) for letter, length in zip(layout, shape, strict=True) if letter in "NT"), 1)


def _of_tensor(value: Any, torch: Any) -> Any:
    tensor = value.detach().cpu()
    if tensor.is_floating_point() and tensor.dtype not in (torch.float64, torch.float32):
        tensor = tensor.float()
    return tensor.numpy()


def _of_pillow(value: Any) -> Described | None:
    """Describe an image of Pillow, in the nearest mode of 8 bits a channel, without numpy; None for any other value or mode."""
    kind: Any = getattr(sys.modules.get("PIL.Image"), "Image", ())
    if not isinstance(value, kind) or value.mode.startswith(("I", "F")):
        return None
    try:
        image = value if value.mode in _CHANNELS_OF else value.convert(_nearest_mode(value))
        content = image.tobytes()
    except Exception as error:
        raise Unusable(f"the image of Pillow cannot be read: {shown(error)}") from error
    if not content:
        raise Unusable(f"an image of {image.width}x{image.height} has no pixels")
    shape = [image.height, image.width, _CHANNELS_OF[image.mode]]
    return {"dtype": "|u1", "shape": shape, "layout": "HWC"}, content


def _nearest_mode(image: Any) -> str:
    if image.mode in ("1", "La"):
        return {"1": "L", "La": "LA"}[image.mode]
    return "RGBA" if image.mode in ("PA", "RGBa") or "transparency" in image.info else "RGB"


def _described(array: Any, layout_of: Callable[[tuple[int, ...]], str]) -> Described:
    if array.dtype.kind not in "buif":
        raise Unusable(f"an array of dtype {array.dtype} has no pixels: give {_DTYPES}")
    layout = layout_of(array.shape)
    if 0 in array.shape:
        raise Unusable(f"an array of shape {array.shape} has no pixels")
    return described(array, layout)


def _layout_of_one(shape: tuple[int, ...], layout: str | None) -> str:
    layouts = "HW, HWC or CHW with 1 to 4 channels, or a batch of one"
    if layout is not None:
        return _checked(shape, layout, "N", layouts, most=1)
    if len(shape) == 4 and shape[0] == 1:
        return "N" + _layout_of_one(shape[1:], None)
    plain = _plain_layout(shape)
    if plain is None:
        hint = "; for a batch there is `images`" if len(shape) == 4 else ""
        raise Unusable(f"an array of shape {shape} is no image: known are {layouts}{hint}")
    return plain


def _layout_of_many(shape: tuple[int, ...], first: str, layout: str | None) -> str:
    layouts = f"{first}HW, {first}HWC or {first}CHW with 1 to 4 channels"
    if layout is not None:
        return _checked(shape, layout, first, layouts)
    if len(shape) == 3 and shape[2] in MODES and min(shape[:2]) > max(MODES):
        raise Unusable(f"an array of shape {shape} may be one image or {shape[0]}: say layout='{first}HW' if it is many")
    plain = _plain_layout(shape[1:]) if len(shape) > 2 else None
    if plain is None:
        raise Unusable(f"an array of shape {shape} does not hold many images: known are {layouts}")
    return first + plain


def _plain_layout(shape: tuple[int, ...]) -> str | None:
    if len(shape) == 2:
        return "HW"
    if len(shape) != 3:
        return None
    return "HWC" if shape[2] in MODES else "CHW" if shape[0] in MODES else None


def _checked(shape: tuple[int, ...], layout: str, first: str, layouts: str, most: int = sys.maxsize) -> str:
    """Return the user's layout, if the shape can have it."""
    letters = str(layout).upper()
    axes = dict(zip(letters, shape, strict=False))
    is_known = {"H", "W"} <= set(letters) <= {"H", "W", "C", first} and len(set(letters)) == len(letters) == len(shape)
    if not is_known or axes.get("C", 1) not in MODES or axes.get(first, 1) > most or (most > 1 and first not in axes):
        raise Unusable(f"an array of shape {shape} has no layout {layout!r}: known are {layouts}, in any order")
    return letters


def _as_it_lies(array: Any, layout: str) -> tuple[Any, str]:
    """Return an array and its layout with the axes in the order of memory: a worker, not this process, transposes."""
    import numpy

    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    return numpy.ascontiguousarray(array.transpose(order)), "".join(layout[axis] for axis in order)


# In a worker.


class Pixels(NamedTuple):
    """One image of 8 bits a channel: row by row, the channels of a pixel side by side."""

    width: int
    height: int
    channels: int
    data: Buffer
    clipped: int = 0
    """The number of values that were slightly out of range, and are cut off."""


def pixels_in(described: Mapping[str, Any], memory: Buffer) -> Iterator[Pixels]:
    """Yield the images in an array, one after the other.

    Raises:
        Unusable: The values of one are out of their range, or not finite.
    """
    shape, layout = described["shape"], described["layout"]
    if described["dtype"] == "|u1" and layout in ("HW", "HWC"):  # as it is: the usual case, which needs no numpy
        yield Pixels(shape[1], shape[0], shape[2] if layout == "HWC" else 1, memory)
        return
    for image in restored(described, memory):
        height, width, channels = image.shape
        whole, clipped = _as_bytes(image)
        yield Pixels(width, height, channels, memoryview(whole).cast("B"), clipped)


def restored(described: Mapping[str, Any], memory: Buffer) -> Any:
    """Return the array with the axes (count, H, W, C), adding those it lacks."""
    import numpy

    layout = described["layout"].replace("T", "N")
    array = numpy.frombuffer(memory, described["dtype"]).reshape(described["shape"])
    array = array.transpose([layout.index(letter) for letter in "NHWC" if letter in layout])
    array = array if "N" in layout else array[None]
    return array if "C" in layout else array[..., None]


def _as_bytes(image: Any) -> tuple[Any, int]:
    """Return an image as contiguous uint8, and the number of its values that are cut off."""
    import numpy

    clipped = 0
    if image.dtype.kind == "b":
        image = image.astype(numpy.uint8) * numpy.uint8(255)
    elif image.dtype.kind == "f":
        image, clipped = _of_floats(image, numpy)
    elif image.dtype != numpy.uint8:
        low, high = int(image.min()), int(image.max())
        if low < 0 or high > 255:
            raise Unusable(f"an image of {image.dtype} has values from {low} to {high}: scale them to 0..255, as uint8")
        image = image.astype(numpy.uint8)
    return numpy.ascontiguousarray(image), clipped


def _of_floats(image: Any, numpy: Any) -> tuple[Any, int]:
    low, high = float(image.min()), float(image.max())
    if not (numpy.isfinite(low) and numpy.isfinite(high)):
        wrong = image.size - int(numpy.isfinite(image).sum())
        raise Unusable(f"an image has {wrong} of {image.size} values that are NaN or infinite")
    if low < -_SLIGHTLY or high > 1 + _SLIGHTLY:
        hint = "divide by 255, or give uint8" if low >= 0 and 1 < high <= 255 else "scale them to 0..1"
        raise Unusable(f"an image of {image.dtype} has values from {low:g} to {high:g} instead of 0..1: {hint}")
    single = image if image.dtype.itemsize > 2 else image.astype(numpy.float32)
    # A value less than half a level beyond the range rounds to a level that exists.
    clipped = int(((single < -_HALF_A_LEVEL) | (single > 1 + _HALF_A_LEVEL)).sum())
    return numpy.rint(single * 255).clip(0, 255).astype(numpy.uint8), clipped

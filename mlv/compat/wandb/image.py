"""Images with boxes and masks, as `wandb.Image` takes them."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlv import Exp, MissingExtra
from mlv.compat.wandb.media import Media, is_elsewhere
from mlv.compat.wandb.values import as_array, figure_of, is_tensor, plain

FORMATS = ("png", "jpg", "jpeg", "bmp")
_MODES_OF_JPEG = ("1", "L", "RGB", "CMYK")


class Classes:
    """The names of the numbers of classes."""

    def __init__(self, class_set: Sequence[Mapping[str, Any]]) -> None:
        """Keep `[{"id": 1, "name": "cat"}, ...]`."""
        self.class_set = [dict(item) for item in class_set]

    def names(self) -> dict[Any, str]:
        """Return the names by number."""
        return {item["id"]: item["name"] for item in self.class_set}


class Image(Media):
    """An image: pixels, a picture of Pillow or matplotlib, or a file, which is kept as it is."""

    def __init__(
        self,
        data_or_path: Any,
        mode: str | None = None,
        caption: str | None = None,
        grouping: int | None = None,
        classes: Classes | Sequence[Mapping[str, Any]] | None = None,
        boxes: Mapping[str, Any] | None = None,
        masks: Mapping[str, Any] | None = None,
        file_type: str | None = None,
        normalize: bool = True,
    ) -> None:
        """Read the image now: what becomes of an array afterwards does not matter.

        Args:
            data_or_path: An array of shape HW or HWC, a tensor of torch of shape CHW, of 0..255, or floats in 0..1; a picture
                of Pillow, a figure of matplotlib, another `Image`, or a path.
            mode: One of Pillow, such as `L`, to convert to.
            caption: A text for people.
            grouping: Does nothing here.
            classes: Names of classes, for boxes and masks that have none of their own.
            boxes: By name, `{"box_data": [...], "class_labels": {...}}`.
            masks: By name, `{"mask_data": array, "class_labels": {...}}`, or with a `path`.
            file_type: `png`, `jpg` or `bmp`, of pixels.
            normalize: Whether floats in 0..1 are stretched to 0..255.

        Raises:
            ValueError: It has no shape of an image, the type of file is none, or boxes or masks are no mapping.
            OSError: The file cannot be read.
            MissingExtra: Pillow is needed for this, and is not installed.
        """
        self._caption = None if caption is None else str(caption)
        self.format = file_type or "png"
        if self.format not in FORMATS:
            raise ValueError(f"file_type must be one of {list(FORMATS)}")
        self._content: Any = None
        self._address: str | None = None
        names = Classes(classes).names() if classes is not None and not isinstance(classes, Classes) else None
        self._names = classes.names() if isinstance(classes, Classes) else names or {}
        if isinstance(data_or_path, Image):
            self._content, self._address, self.format = data_or_path._content, data_or_path._address, data_or_path.format
            self._caption = self._caption if caption is not None else data_or_path._caption
        elif isinstance(data_or_path, (str, os.PathLike)):
            self._open(os.fspath(data_or_path))
        else:
            self._content = _pixels(data_or_path, normalize)
            if mode is not None or file_type not in (None, "png"):
                self._content = self._encoded(mode, file_type)
        self._boxes = [box for group, item in _groups(boxes, "boxes") for box in self._boxes_of(group, item)]
        self._masks = {group: self._mask_of(item) for group, item in _groups(masks, "masks")}

    @property
    def image(self) -> Any:
        """The picture, of Pillow."""
        if self._address is not None:
            return None
        if isinstance(self._content, bytes):
            return _pillow().open(io.BytesIO(self._content))
        return self._content if hasattr(self._content, "getbands") else _pillow().fromarray(self._content)

    @property
    def is_bare(self) -> bool:
        """Whether nothing is drawn over it, and it lies here."""
        return not self._boxes and not self._masks and self._address is None

    @property
    def content(self) -> Any:
        """Pixels, a picture of Pillow, or the bytes of a file."""
        return self._content

    @property
    def boxes(self) -> list[dict[str, Any]]:
        """What is drawn around things in it, in pixels."""
        return self._boxes

    @property
    def masks(self) -> dict[str, dict[str, Any]]:
        """The masks over it, by name."""
        return self._masks

    def draw(self, boxes: list[dict[str, Any]], masks: dict[str, dict[str, Any]]) -> None:
        """Take boxes and masks of another image. Not called by users."""
        self._boxes, self._masks = boxes, masks

    def file(self) -> tuple[bytes, str]:
        """Return the content of a file of it, and the ending of its name.

        Raises:
            ValueError: It lies elsewhere.
        """
        if self._address is not None:
            raise ValueError(f"the image lies at {self._address}: add_reference(address)")
        if isinstance(self._content, bytes):
            return self._content, f".{self.format}"
        file = io.BytesIO()
        self.image.save(file, "PNG")
        return file.getvalue(), ".png"

    def store(self, exp: Exp, name: str, step: int | None) -> None:
        """Log a line of type `image`; one that lies elsewhere is an event with its address."""
        if self._address is not None:
            exp.log(name, {"_type": "image-file", "path": self._address, "caption": self._caption}, step=step)
            return
        exp.log.image(
            name, self._content, step=step, caption=self._caption, boxes=self._boxes or None, masks=self._masks or None
        )

    def _open(self, path: str) -> None:
        if is_elsewhere(path):
            self._address = path
            return
        self._content, self.format = Path(path).read_bytes(), os.path.splitext(path)[1][1:]

    def _encoded(self, mode: str | None, file_type: str | None) -> Any:
        picture = self.image if mode is None else self.image.convert(mode)
        if file_type in (None, "png"):
            return picture
        file = io.BytesIO()
        if file_type == "bmp":
            picture.save(file, "BMP")
        else:  # which has no transparency, and no palette
            picture = picture if picture.mode in _MODES_OF_JPEG else picture.convert("RGB")
            picture.save(file, "JPEG")
        return file.getvalue()

    def _boxes_of(self, group: str, item: Any) -> list[dict[str, Any]]:
        names = {**self._names, **dict(item.get("class_labels") or {})}
        width, height = self.image.size if self._address is None else (1, 1)
        return [_box(group, box, names, width, height) for box in item.get("box_data") or ()]

    def _mask_of(self, item: Any) -> dict[str, Any]:
        names = {**self._names, **dict(item.get("class_labels") or {})}
        if "path" in item:
            with _pillow().open(item["path"]) as picture:
                array = as_array(picture)
        elif "mask_data" in item:
            array = as_array(item["mask_data"])
        else:
            raise ValueError('a mask has neither "mask_data" nor "path": give one of them')
        array = array.squeeze() if array.ndim > 2 else array
        numbers = array.copy() if array.dtype.kind in "bui" else array.astype("int64")
        return {"mask": numbers, **({"classes": {str(key): str(name) for key, name in names.items()}} if names else {})}


class BoundingBoxes2D(dict[str, Any]):
    """The boxes of a group, as `boxes=` of an image takes them."""

    def __init__(self, val: Mapping[str, Any], key: str = "") -> None:
        """Keep `{"box_data": [...], "class_labels": {...}}`."""
        super().__init__(val)


class ImageMask(dict[str, Any]):
    """The mask of a group, as `masks=` of an image takes it."""

    def __init__(self, val: Mapping[str, Any], key: str = "") -> None:
        """Keep `{"mask_data": array, "class_labels": {...}}`."""
        super().__init__(val)


def _groups(values: Any, argument: str) -> list[tuple[str, Any]]:
    if not values:
        return []
    if not isinstance(values, Mapping):
        raise ValueError(f'Images "{argument}" argument must be a dictionary')
    return [(str(key), item) for key, item in values.items()]


def _box(group: str, box: Mapping[str, Any], names: Mapping[Any, str], width: int, height: int) -> dict[str, Any]:
    """Return a box as mlv has it, in pixels.

    Raises:
        ValueError: It has no position.
    """
    position = box.get("position") or {}
    if {"minX", "maxX", "minY", "maxY"} <= position.keys():
        left, right, top, bottom = (float(position[key]) for key in ("minX", "maxX", "minY", "maxY"))
    elif {"middle", "width", "height"} <= position.keys():
        (x, y), half_width, half_height = position["middle"], position["width"] / 2, position["height"] / 2
        left, right, top, bottom = x - half_width, x + half_width, y - half_height, y + half_height
    else:
        raise ValueError(f"a box has the position {position!r}: give minX, maxX, minY, maxY, or middle, width, height")
    across, down = (1, 1) if box.get("domain") == "pixel" else (width, height)
    fields: dict[str, Any] = {"box": [left * across, top * down, right * across, bottom * down], "group": group}
    if box.get("class_id") is not None:
        number = plain(box["class_id"])
        fields |= {"class_id": number, "label": names.get(number, str(number))}
    if box.get("box_caption") is not None:
        fields["caption"] = str(box["box_caption"])
    scores = plain(dict(box.get("scores") or {}))
    if scores:
        fields |= {"scores": scores, "score": next(iter(scores.values()))}
    return fields


def _pixels(data: Any, normalize: bool) -> Any:
    """Return a copy of pixels as an array HW or HWC of uint8, or a picture of Pillow.

    Raises:
        ValueError: They have no shape of an image.
    """
    import numpy

    if hasattr(data, "getbands"):
        return data.copy()
    figure = figure_of(data)
    if figure is not None:
        file = io.BytesIO()
        figure.savefig(file, format="png")
        return file.getvalue()
    array = as_array(data)
    if is_tensor(data) and array.ndim == 3:
        array = array.transpose(1, 2, 0)
    if array.ndim > 2:
        array = array.squeeze()
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[-1] in (1, 3, 4)):
        raise ValueError(f"Un-supported shape for image conversion {list(array.shape)}")
    if array.dtype == bool:
        return array.astype(numpy.uint8) * 255
    if array.dtype.kind == "f" and normalize and array.size:
        finite = array[numpy.isfinite(array)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        array = numpy.nan_to_num(array, nan=low, posinf=high, neginf=low)
        if low < 0 and high <= 1:  # of -1..1, or noise around 0
            array = (array - low) / ((high - low) or 1.0)
            high = 1.0
        if high <= 1:
            array = (array * 255).round()
    return numpy.ascontiguousarray(array.clip(0, 255).astype(numpy.uint8))


def _pillow() -> Any:
    try:
        import PIL.Image
    except ImportError as error:
        raise MissingExtra(
            "this kind of image needs Pillow: pip install 'mlvlogger[media]'", package="PIL", extra="media"
        ) from error
    return PIL.Image

"""`wandb.data_types`: the classes of values that are logged as media."""

from mlv.compat.wandb.image import BoundingBoxes2D, Classes, Image, ImageMask
from mlv.compat.wandb.media import Audio, Histogram, Html, Media, Molecule, Object3D, Plotly, Video
from mlv.compat.wandb.table import JoinedTable, PartitionedTable, Table

WBValue = Media

__all__ = [
    "Audio",
    "BoundingBoxes2D",
    "Classes",
    "Histogram",
    "Html",
    "Image",
    "ImageMask",
    "JoinedTable",
    "Media",
    "Molecule",
    "Object3D",
    "PartitionedTable",
    "Plotly",
    "Table",
    "Video",
    "WBValue",
]

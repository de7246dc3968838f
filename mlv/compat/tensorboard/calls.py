"""The calls that both SummaryWriters have, and whose summaries the original makes."""

from __future__ import annotations

from typing import Any

from mlv.compat.tensorboard.base import Writer
from mlv.compat.tensorboard.file_writer import whole
from mlv.compat.tensorboard.guarding import guarded


class Calls(Writer):
    """Calls with the same arguments in torch and tensorboardX."""

    @guarded
    def add_scalars(self, main_tag: str, tag_scalar_dict: Any, global_step: Any = None, walltime: float | None = None) -> None:
        """Add numbers that belong together: the series `<main_tag>/<tag>` of the same run, and one event."""
        self._add_scalars({f"{main_tag}/{tag}": value for tag, value in tag_scalar_dict.items()}, global_step, walltime)

    @guarded
    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: Any = None,
        bins: Any = "tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """Add a distribution of values."""
        self._call("add_histogram", tag, values, global_step, bins, walltime, max_bins)

    @guarded
    def add_histogram_raw(
        self,
        tag: str,
        min: Any,
        max: Any,
        num: Any,
        sum: Any,
        sum_squares: Any,
        bucket_limits: Any,
        bucket_counts: Any,
        global_step: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Add a distribution of ready counts."""
        buckets = (bucket_limits, bucket_counts)
        self._call("add_histogram_raw", tag, min, max, num, sum, sum_squares, *buckets, global_step, walltime)

    @guarded
    def add_image(
        self, tag: str, img_tensor: Any, global_step: Any = None, walltime: float | None = None, dataformats: str = "CHW"
    ) -> None:
        """Add an image."""
        self._call("add_image", tag, img_tensor, global_step, walltime, dataformats)

    @guarded
    def add_images(
        self, tag: str, img_tensor: Any, global_step: Any = None, walltime: float | None = None, dataformats: str = "NCHW"
    ) -> None:
        """Add a batch of images, as a grid."""
        self._call("add_images", tag, img_tensor, global_step, walltime, dataformats)

    @guarded
    def add_figure(
        self, tag: str, figure: Any, global_step: Any = None, close: bool = True, walltime: float | None = None
    ) -> None:
        """Add a figure of matplotlib, or a list of them as a grid."""
        self._call("add_figure", tag, figure, global_step, close, walltime)

    @guarded
    def add_audio(
        self, tag: str, snd_tensor: Any, global_step: Any = None, sample_rate: int = 44100, walltime: float | None = None
    ) -> None:
        """Add a sound."""
        self._call("add_audio", tag, snd_tensor, global_step, sample_rate, walltime)

    @guarded
    def add_text(self, tag: str, text_string: str, global_step: Any = None, walltime: float | None = None) -> None:
        """Add a text."""
        self._call("add_text", tag, text_string, global_step, walltime)

    @guarded
    def add_graph(self, model: Any, input_to_model: Any = None, verbose: bool = False, use_strict_trace: bool = True) -> None:
        """Add the graph of a module."""
        self._call("add_graph", model, input_to_model, verbose, use_strict_trace)

    @guarded
    def add_embedding(
        self,
        mat: Any,
        metadata: Any = None,
        label_img: Any = None,
        global_step: Any = None,
        tag: str = "default",
        metadata_header: Any = None,
    ) -> None:
        """Add points for TensorBoard's projector: its files lie where the original puts them."""
        self._call("add_embedding", mat, metadata, label_img, global_step, tag, metadata_header)
        self._log_embedding(mat, global_step, tag)

    @guarded
    def add_pr_curve(
        self,
        tag: str,
        labels: Any,
        predictions: Any,
        global_step: Any = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Add precision and recall over thresholds."""
        self._call("add_pr_curve", tag, labels, predictions, global_step, num_thresholds, weights, walltime)
        if weights is None:
            log = self._get_file_writer().at(walltime)
            log.pr_curve(tag, labels, predictions, step=whole(global_step), thresholds=num_thresholds)

    @guarded
    def add_pr_curve_raw(
        self,
        tag: str,
        true_positive_counts: Any,
        false_positive_counts: Any,
        true_negative_counts: Any,
        false_negative_counts: Any,
        precision: Any,
        recall: Any,
        global_step: Any = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Add precision and recall that are computed already."""
        counts = (true_positive_counts, false_positive_counts, true_negative_counts, false_negative_counts)
        self._call("add_pr_curve_raw", tag, *counts, precision, recall, global_step, num_thresholds, weights, walltime)

    @guarded
    def add_custom_scalars_multilinechart(self, tags: Any, category: str = "default", title: str = "untitled") -> None:
        """Add a chart of several series."""
        self._call("add_custom_scalars_multilinechart", tags, category, title)

    @guarded
    def add_custom_scalars_marginchart(self, tags: Any, category: str = "default", title: str = "untitled") -> None:
        """Add a chart of a series between two others."""
        self._call("add_custom_scalars_marginchart", tags, category, title)

    @guarded
    def add_custom_scalars(self, layout: Any) -> None:
        """Add charts of several series."""
        self._call("add_custom_scalars", layout)

    @guarded
    def add_mesh(
        self,
        tag: str,
        vertices: Any,
        colors: Any = None,
        faces: Any = None,
        config_dict: Any = None,
        global_step: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Add meshes, or clouds of points."""
        self._call("add_mesh", tag, vertices, colors, faces, config_dict, global_step, walltime)
        self._log_mesh(tag, vertices, colors, faces, global_step, walltime)

"""torch's SummaryWriter."""

from __future__ import annotations

from typing import Any

from mlv.compat.tensorboard.calls import Calls
from mlv.compat.tensorboard.file_writer import checked_number, whole
from mlv.compat.tensorboard.guarding import guarded
from mlv.compat.tensorboard.installing import original


class SummaryWriter(Calls):
    """The SummaryWriter of `torch.utils.tensorboard`, whose calls are events of an experiment as well: `writer.exp`.

    The arguments and the files are those of the original. A call that cannot be logged is left out with a warning.
    """

    def __init__(
        self,
        log_dir: Any = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        filename_suffix: str = "",
    ) -> None:
        """Begin an event file in `log_dir`, and an experiment in `<log_dir>/.mlv-experiments`.

        Args:
            log_dir: A local folder; None is `runs/<time>_<host><comment>`.
            comment: The end of that name.
            purge_step: Go on with the latest experiment of the folder from this step: what it had from there on is superseded,
                and TensorBoard hides it.
            max_queue: Without effect: what was logged outlives the process.
            flush_secs: Without effect, as well.
            filename_suffix: The end of the event file's name.

        Raises:
            InvalidArgument: The folder is no local one.
            SavedirUnusable, OSError: It cannot be written.
            MissingExtra: tensorboardX is not installed.
        """
        self.max_queue, self.flush_secs, self.filename_suffix = max_queue, flush_secs, filename_suffix
        self.log_dir = self._prepare(log_dir, comment, purge_step, filename_suffix)

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: Any = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """Add a number; the log keeps all its digits, the event file those of 32 bits."""
        writer = self.file_writer
        # The path of nearly all calls: no more than a call of the logger.
        try:
            if writer is None or walltime is not None or new_style or self._forms:
                form = {"new_style": True, "double_precision": bool(double_precision)} if new_style else {}
                self._add_scalar(tag, scalar_value, global_step, walltime, form)
                return
            if type(scalar_value) is not float and type(scalar_value) is not int:
                scalar_value = checked_number(scalar_value)
            if type(global_step) is not int:
                global_step = whole(global_step)
            writer.log({tag: scalar_value}, step=global_step)
        except Exception as error:  # as `guarded`, without the time of its call
            self.report(f"add_scalar was left out: {type(error).__name__}: {error}")

    @guarded
    def add_hparams(
        self,
        hparam_dict: dict[str, Any],
        metric_dict: dict[str, Any],
        hparam_domain_discrete: dict[str, list[Any]] | None = None,
        run_name: str | None = None,
        global_step: Any = None,
    ) -> None:
        """Add hyperparameters and their metrics, to the run itself; a `run_name` puts them into a run in a folder below."""

        def summaries(hparam_dict: dict[str, Any], domain: Any) -> Any:
            from torch.utils.tensorboard.summary import hparams

            return hparams(hparam_dict, metric_dict, domain)

        self._add_hparams(hparam_dict, metric_dict, summaries, global_step, name=run_name, domain=hparam_domain_discrete)

    @guarded
    def add_tensor(self, tag: str, tensor: Any, global_step: Any = None, walltime: float | None = None) -> None:
        """Add a tensor of any shape."""
        self._call("add_tensor", tag, tensor, global_step, walltime)
        self._get_file_writer().at(walltime).array(tag, tensor, step=whole(global_step))

    @guarded
    def add_image_with_boxes(
        self,
        tag: str,
        img_tensor: Any,
        box_tensor: Any,
        global_step: Any = None,
        walltime: float | None = None,
        rescale: float = 1,
        dataformats: str = "CHW",
        labels: Any = None,
    ) -> None:
        """Add an image with boxes drawn into it."""
        place = (global_step, walltime)
        self._call("add_image_with_boxes", tag, img_tensor, box_tensor, *place, rescale, dataformats, labels)

    @guarded
    def add_video(
        self, tag: str, vid_tensor: Any, global_step: Any = None, fps: float = 4, walltime: float | None = None
    ) -> None:
        """Add a video; it needs moviepy, as the original does."""
        self._call("add_video", tag, vid_tensor, global_step, fps, walltime)

    @guarded
    def add_onnx_graph(self, prototxt: Any) -> None:
        """Add the graph of an ONNX file, and keep the file."""
        self._call("add_onnx_graph", prototxt)
        self._get_file_writer().exp.attach(prototxt)

    def _original(self) -> Any:
        return original("torch.utils.tensorboard.writer")

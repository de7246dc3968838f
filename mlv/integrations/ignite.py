"""The bridge from PyTorch Ignite: a logger whose handlers are attached to engines."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from mlv.integrations.connection import Connection
from mlv.integrations.derived import derived
from mlv.integrations.frameworks import framework
from mlv.integrations.repeats import are_equal

_rows: WeakKeyDictionary[Any, dict[str, tuple[Any, dict[int, dict[str, Any]]]]] = WeakKeyDictionary()
"""Of each engine and experiment, the latest event, and what each handler has logged at it."""


def __getattr__(name: str) -> Any:
    classes = {
        "Logger": (IgniteLogger, "BaseLogger"),
        "OutputHandler": (IgniteOutputHandler, "BaseOutputHandler"),
        "OptimizerParamsHandler": (IgniteOptimizerParamsHandler, "BaseOptimizerParamsHandler"),
    }
    if name not in classes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    own, base = classes[name]
    library = framework("ignite.handlers.base_logger", least="0.4.8", below="0.6", install="pytorch-ignite")
    globals()[name] = derived(name, own, getattr(library, base))
    return globals()[name]


@cache
def _engines() -> Any:
    return framework("ignite.engine", least="0.4.8", below="0.6", install="pytorch-ignite")


class IgniteLogger:
    """The methods of `Logger`: `Logger(exp=exp, trainer=trainer)`, and then `attach_output_handler(...)` as with any other.

    Metrics are `tag/name`. Their step is the number of iterations of the trainer, so that all engines share one axis, and
    `epoch` is a coordinate; a handler with a `global_step_transform` has the step that it says. A trainer that goes on from
    its `state_dict` rewinds: what was logged after its iteration is superseded.
    """

    def __init__(
        self,
        savedir: Any = None,
        name: str | None = None,
        params: Any = None,
        *,
        exp: Any = None,
        trainer: Any = None,
        **options: Any,
    ) -> None:
        """Log to an experiment, which is made at its first use, or to the one that is passed.

        Args:
            savedir: As in `mlv.Exp`.
            name: As in `mlv.Exp`.
            params: As in `mlv.Exp`.
            exp: An experiment in place of these three, which stays open; or its path.
            trainer: The engine whose iterations are the steps; None takes those of the engine that a handler is attached to.
            options: Other arguments of `mlv.Exp`.

        Raises:
            InvalidArgument: An argument cannot be used.
        """
        self.connection = Connection(exp, savedir, name, params, **options)
        self.trainer = trainer
        if trainer is not None:
            trainer.add_event_handler(_engines().Events.STARTED, self._begin)

    def close(self) -> None:
        """Close an experiment that was made here."""
        self.connection.close()

    def log_at(self, engine: Any, event_name: Any, values: dict[str, Any], handler: object) -> None:
        """Log values at the iteration of the trainer, or of the engine where there is none."""
        if self.is_repeated(engine, event_name, values, handler):
            return
        state, events = (self.trainer or engine).state, _engines().Events
        # What is so at the start of an epoch is so in its first iteration: that a trainer goes on does not repeat it.
        is_ahead = event_name in (events.STARTED, events.EPOCH_STARTED)
        self.connection.log.at(epoch=state.epoch)(values, step=state.iteration + is_ahead)

    def is_repeated(self, engine: Any, event_name: Any, values: dict[str, Any], handler: object) -> bool:
        """Return whether another handler has logged the same values into the experiment at this event of the engine."""
        moment = event_name, engine.state.iteration, engine.state.epoch
        latest, exp_id = _rows.setdefault(engine, {}), self.connection.exp.id
        if exp_id not in latest or latest[exp_id][0] != moment or id(handler) in latest[exp_id][1]:
            latest[exp_id] = moment, {}  # an evaluator that runs again may be at the same iteration again
        rows = latest[exp_id][1]
        if any(are_equal(row, values) for row in rows.values()):
            self.connection.report_repeats()
            return True
        rows[id(handler)] = values
        return False

    def _begin(self, trainer: Any) -> None:
        if trainer.state.iteration:
            self.connection.rewind(trainer.state.iteration)

    def _create_output_handler(self, *args: Any, **kwargs: Any) -> Any:
        return __getattr__("OutputHandler")(*args, **kwargs)

    def _create_opt_params_handler(self, *args: Any, **kwargs: Any) -> Any:
        return __getattr__("OptimizerParamsHandler")(*args, **kwargs)


class IgniteOutputHandler:
    """The methods of `OutputHandler`, which logs the output and the metrics of an engine."""

    if TYPE_CHECKING:  # attributes of the class of Ignite
        global_step_transform: Callable[[Any, Any], Any]
        _setup_output_metrics_state_attrs: Callable[..., dict[str, Any]]

    def __init__(
        self,
        tag: str,
        metric_names: Any = None,
        output_transform: Any = None,
        global_step_transform: Any = None,
        state_attributes: Any = None,
    ) -> None:
        """Choose what is logged: names of metrics or `all`, the output, attributes of the state.

        Args:
            tag: The first part of the names.
            metric_names: Names of metrics of the engine, or `all`.
            output_transform: Of the output of the engine, into a number or a mapping of names to numbers.
            global_step_transform: Of the engine and the event, into the step.
            state_attributes: Attributes of the state of the engine.
        """
        super().__init__(tag, metric_names, output_transform, global_step_transform, state_attributes)  # type: ignore[call-arg]
        self._has_steps = global_step_transform is not None

    def __call__(self, engine: Any, logger: Any, event_name: Any) -> None:
        """Log the values of an engine."""
        metrics = self._setup_output_metrics_state_attrs(engine, log_text=True, key_tuple=False)
        if not metrics:
            return
        if not self._has_steps:
            logger.log_at(engine, event_name, metrics, self)
        elif not logger.is_repeated(engine, event_name, metrics, self):
            logger.connection.log(metrics, step=self.global_step_transform(engine, event_name))


class IgniteOptimizerParamsHandler:
    """The methods of `OptimizerParamsHandler`, which logs a param of each group of an optimizer, such as `lr/group_0`."""

    if TYPE_CHECKING:  # attributes of the class of Ignite
        optimizer: Any
        param_name: str
        tag: str | None

    def __call__(self, engine: Any, logger: Any, event_name: Any) -> None:
        """Log the params of an optimizer."""
        before = f"{self.tag}/" if self.tag else ""
        groups = enumerate(self.optimizer.param_groups)
        values = {f"{before}{self.param_name}/group_{number}": float(group[self.param_name]) for number, group in groups}
        logger.log_at(engine, event_name, values, self)

"""The tracking store: the calls of MLflow, on experiments of mlv."""

from __future__ import annotations

import threading
from abc import update_abstractmethods
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import time
from typing import Any

from mlflow.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    ExperimentTag,
    InputTag,
    LifecycleStage,
    LoggedModelInput,
    LoggedModelOutput,
    Run,
    RunData,
    RunInfo,
    RunInputs,
    RunOutputs,
    RunStatus,
    RunTag,
    ViewType,
)
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.tracking.abstract_store import AbstractStore
from mlflow.utils.name_utils import _generate_random_name
from mlflow.utils.search_utils import SearchExperimentsUtils, SearchUtils
from mlflow.utils.validation import _validate_batch_log_data, _validate_experiment_name, _validate_param_keys_unique

import mlv
from mlv.integrations.mlflow import sessions
from mlv.integrations.mlflow.artifacts import FILES, uri_of
from mlv.integrations.mlflow.errors import absent, missing, refused, translated
from mlv.integrations.mlflow.folders import DEFAULT_ID, FolderIdentity, Folders, Group, milliseconds, root_of
from mlv.integrations.mlflow.making import add_params, bring_back, made, remove, translating
from mlv.integrations.mlflow.models import Models
from mlv.integrations.mlflow.records import EVENT, MlflowRecord, add_metrics, add_tags

_NESTED = "run"
"""The kind of nested runs."""
_RUN_NAME, _PARENT, _USER = "mlflow.runName", "mlflow.parentRunId", "mlflow.user"
_STATUSES = {"FINISHED": "ok", "FAILED": "failed", "KILLED": "interrupted"}
"""Statuses of mlv for those with which MLflow ends a run."""
_RUN_STATUSES = {"running": "RUNNING", "ok": "FINISHED", "ended": "FINISHED", "failed": "FAILED"}
"""Statuses of MLflow; whatever else stopped a run has killed it."""


class Store(Models, AbstractStore):  # type: ignore[misc]  # MLflow has no types where it is not installed
    """MLflow's runs as experiments of mlv, and MLflow's experiments as folders of them.

    The ID of a run is that of the experiment, the SHA-256 of its `meta.json`: experiments that mlv itself made are runs too.
    """

    def __init__(self, store_uri: str) -> None:
        """Keep the root; nothing is made before the first run."""
        super().__init__()
        self._folders = Folders(root_of(store_uri))
        self._read_at: dict[tuple[str, str], int] = {}
        """When the history of a metric of a run was read last."""
        self._lock = threading.RLock()

    # Experiments of MLflow.

    @translating
    def search_experiments(
        self,
        view_type: Any = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        filter_string: str | None = None,
        order_by: Any = None,
        page_token: Any = None,
    ) -> Any:
        """Return the experiments of MLflow that a filter lets pass."""
        if not isinstance(max_results, int) or max_results < 1:
            raise refused(f"Invalid value {max_results} for parameter 'max_results': give a whole number above 0")
        stages = LifecycleStage.view_type_to_stages(view_type)
        every = [experiment for group in self._folders.groups() if (experiment := _experiment(group)).lifecycle_stage in stages]
        chosen = SearchExperimentsUtils.filter(every, filter_string)
        ordered = SearchExperimentsUtils.sort(chosen, order_by or ["creation_time DESC", "experiment_id ASC"])
        return PagedList(*SearchUtils.paginate(ordered, page_token, max_results))

    @translating
    def create_experiment(self, name: str, artifact_location: str | None = None, tags: Any = None) -> str:
        """Make an experiment of MLflow: a folder in the root, with a log of its name and tags."""
        _validate_experiment_name(name)
        if artifact_location:
            raise refused(f"artifact_location={artifact_location!r}: artifacts lie with their runs in {self._folders.root}")
        with self._lock:
            return self._folders.make_group(name, {tag.key: tag.value for tag in tags or ()}).id

    @translating
    def get_experiment(self, experiment_id: str) -> Any:
        """Return an experiment of MLflow."""
        return _experiment(self._folders.group(experiment_id))

    @translating
    def get_experiment_by_name(self, experiment_name: str) -> Any:
        """Return an experiment of MLflow; None where there is none of that name."""
        group = self._folders.group_named(experiment_name)
        return None if group is None else _experiment(group)

    @translating
    def delete_experiment(self, experiment_id: str) -> None:
        """Move the runs into the trash, and have MLflow list the experiment no more."""
        group = self._named_group(experiment_id)
        for identity in self._folders.outermost(self._folders.inside(group)):
            remove(identity)
        group.note("deleted", {})

    @translating
    def restore_experiment(self, experiment_id: str) -> None:
        """Bring the runs back from the trash, also those that were deleted before."""
        group = self._folders.group(experiment_id)
        deleted = self._folders.outermost(self._folders.inside(group, is_deleted=True))
        for identity in sorted(deleted, key=lambda each: len(each.former_path.parts)):  # a parent before those nested in it
            bring_back(identity)
        group.note("restored", {})

    @translating
    def rename_experiment(self, experiment_id: str, new_name: str) -> None:
        """Give an experiment of MLflow another name; its folder and its ID stay."""
        _validate_experiment_name(new_name)
        group = self._named_group(experiment_id)
        if group.name != new_name:
            self._folders.check_new(new_name)
            group.note("renamed", {"name": new_name})

    @translating
    def set_experiment_tag(self, experiment_id: str, tag: Any) -> None:
        """Set a tag of an experiment of MLflow."""
        self._active_group(experiment_id).note("tags", {tag.key: tag.value})

    @translating
    def delete_experiment_tag(self, experiment_id: str, key: str) -> None:
        """Take away a tag of an experiment of MLflow."""
        group = self._active_group(experiment_id)
        if key not in group.tags:
            raise missing(f"No tag with name: {key} in experiment with id {experiment_id}")
        group.note("tags", {key: None})

    def _active_group(self, experiment_id: Any) -> Group:
        group = self._folders.group(experiment_id)
        if group.is_deleted:
            raise refused(f"The experiment {group.id} must be in the 'active' lifecycle_stage: restore it first")
        return group

    def _named_group(self, experiment_id: Any) -> Group:
        """Return an experiment of MLflow that is not the one for runs of no other."""
        if str(experiment_id) == DEFAULT_ID:
            raise refused(f"The default experiment is the folder {self._folders.root} itself, and stays")
        return self._active_group(experiment_id)

    # Runs.

    @translating
    def create_run(self, experiment_id: str, user_id: str, start_time: int, tags: Any, run_name: str | None) -> Any:
        """Make an experiment of mlv, and begin a run in it; a nested run is a sub-experiment of its parent."""
        group = self._active_group(experiment_id)
        values = {tag.key: tag.value for tag in tags or ()}
        name = run_name or values.get(_RUN_NAME) or _generate_random_name()
        if values.setdefault(_RUN_NAME, name) != name:
            raise refused(f"'run_name' is {run_name!r} and the tag {_RUN_NAME!r} is {values[_RUN_NAME]!r}: give one of them")
        parent_id = values.get(_PARENT)
        exp = made(self._folders, group, parent_id, None if parent_id is None else _NESTED, name)
        exp.log(EVENT, {"start_time": start_time, "user_id": user_id})
        add_tags(exp, values)
        self._folders.note(exp)
        # Without a look into the log: half of the time of this call would go by until the writer has started.
        info = RunInfo(
            run_id=exp.id,
            run_name=name,
            experiment_id=group.id,
            user_id=user_id,
            status="RUNNING",
            start_time=start_time,
            end_time=None,
            lifecycle_stage=LifecycleStage.ACTIVE,
            artifact_uri=uri_of(exp.path / FILES),
        )
        data = RunData(tags=[RunTag(key, value) for key, value in values.items()])
        return Run(info, data, RunInputs([]), RunOutputs([]))

    @translating
    def get_run(self, run_id: str) -> Any:
        """Return a run, also a deleted one."""
        return self._run(self._folders.identity(run_id))

    @translating
    def update_run_info(self, run_id: str, run_status: Any, end_time: int | None, run_name: str | None) -> Any:
        """End a run with a status, or have it go on; give it another name."""
        identity = self._active(run_id)
        status = RunStatus.to_string(run_status) if run_status is not None else None
        if status == "RUNNING":
            sessions.begin(identity).log(EVENT, {"end_time": None})
        if run_name:
            with sessions.writing(identity) as exp:
                add_tags(exp, {_RUN_NAME: run_name})
        if status in _STATUSES:
            # It was ended before, perhaps by another process: then there is a run to say so.
            sessions.begin(identity).log(EVENT, {"end_time": end_time or int(time() * 1000)})
            sessions.end(run_id, _STATUSES[status])
        return self._run(identity).info

    @translating
    def delete_run(self, run_id: str) -> None:
        """Move a run, with those nested in it, into the trash, as `mlv rm` does; one that goes on here is ended."""
        remove(self._active(run_id))

    @translating
    def restore_run(self, run_id: str) -> None:
        """Bring a run back from the trash, with those nested in it."""
        identity = self._folders.identity(run_id)
        if identity.is_deleted:
            bring_back(identity)

    def _search_runs(
        self,
        experiment_ids: Sequence[str],
        filter_string: str | None,
        run_view_type: Any,
        max_results: int,
        order_by: Any,
        page_token: Any,
    ) -> Any:
        stages = LifecycleStage.view_type_to_stages(run_view_type)
        with translated():
            runs = [self._run(identity) for identity in self._inside(experiment_ids, stages) if not identity.is_model]
        ordered = SearchUtils.sort(SearchUtils.filter(runs, filter_string), order_by)
        return SearchUtils.paginate(ordered, page_token, max_results)

    def _inside(self, experiment_ids: Sequence[str], stages: Sequence[str]) -> Iterator[FolderIdentity]:
        for group in self._folders.groups():
            if group.id in map(str, experiment_ids):
                for stage in stages:
                    yield from self._folders.inside(group, is_deleted=stage == LifecycleStage.DELETED)

    def _active(self, run_id: str) -> FolderIdentity:
        identity = self._folders.identity(run_id)
        if identity.is_deleted:
            raise refused(f"The run {run_id} must be in the 'active' lifecycle_stage: restore it first")
        return identity

    def _run(self, identity: FolderIdentity) -> Any:
        record = MlflowRecord.of(sessions.reading(identity))
        tags = record.tags
        inputs, outputs = _inputs(record.fields), _outputs(record.fields)
        data = RunData(record.metrics, record.params, [RunTag(key, value) for key, value in tags.items()])
        return Run(self._info(identity, record, tags), data, inputs, outputs)

    def _info(self, identity: FolderIdentity, record: MlflowRecord, tags: Mapping[str, str]) -> Any:
        exp = record.exp
        status, runs = _RUN_STATUSES.get(record.status, "KILLED"), exp.runs
        ended = runs[-1].ended if runs else None
        started = next((run.started for run in runs if run.started), None)
        return RunInfo(
            run_id=identity.id,
            run_name=tags.get(_RUN_NAME, identity.former_path.name),
            experiment_id=self._folders.group_id(identity),
            user_id=record.fields.get("user_id") or tags.get(_USER, "unknown"),
            status=status,
            start_time=record.start_time or (milliseconds(started) if started else 0),
            end_time=None if status == "RUNNING" else record.end_time or (milliseconds(ended) if ended else None),
            lifecycle_stage=LifecycleStage.DELETED if identity.is_deleted else LifecycleStage.ACTIVE,
            artifact_uri=uri_of(identity.path / FILES),
        )

    # What is logged.

    @translating
    def log_batch(self, run_id: str, metrics: Any, params: Any, tags: Any) -> None:
        """Log metrics, params and tags."""
        metrics, params, tags = _validate_batch_log_data(metrics, params, tags)
        _validate_param_keys_unique(params)
        with self._writing(run_id) as exp:
            add_params(exp, params)
            if metrics:
                self._add_metrics(exp, metrics)
            if tags:
                with self._lock:  # of two threads that set one tag the later one counts
                    add_tags(exp, {tag.key: str(tag.value) for tag in tags})

    @contextmanager
    def _writing(self, run_id: str) -> Iterator[mlv.Exp]:
        exp = sessions.opened(run_id)  # without a look at the disk, as a rule
        if exp is not None:
            yield exp
            return
        with sessions.writing(self._active(run_id)) as exp:
            yield exp

    def _add_metrics(self, exp: mlv.Exp, metrics: list[Any]) -> None:
        """Log metrics, and have the models that they are about know them."""
        of_models: dict[str, dict[str, float]] = {}
        for metric in metrics:
            if metric.model_id is not None:
                of_models.setdefault(metric.model_id, {})[metric.key] = metric.value
        new = self._without_read(exp, metrics) if of_models else metrics
        if new:
            add_metrics(exp.log, new)
        for model_id, values in of_models.items():
            sessions.reading(self._folders.identity(model_id)).summarize(values)

    def _without_read(self, exp: mlv.Exp, metrics: list[Any]) -> list[Any]:
        """Return the metrics that are not in the log: MLflow reads metrics, and logs them again with the ID of a model.

        It logs each once more for every model of a step, too.
        """
        once = list({(metric.key, metric.step, metric.timestamp, str(metric.value)): metric for metric in metrics}.values())
        if all(metric.timestamp > self._read_at.get((exp.id, metric.key), 0) for metric in once):
            return once
        points = MlflowRecord.of(exp).points
        logged = {(point.key, point.step, point.timestamp) for key in points for point in points[key]}
        return [metric for metric in once if (metric.key, metric.step, metric.timestamp) not in logged]

    @translating
    def delete_tag(self, run_id: str, key: str) -> None:
        """Take away a tag of a run."""
        with self._writing(run_id) as exp:
            if key not in MlflowRecord.of(exp).tags:
                raise missing(f"No tag with name: {key} in run with id {run_id}")
            add_tags(exp, {key: None})

    @translating
    def get_metric_history(self, run_id: str, metric_key: str, max_results: int | None = None, page_token: Any = None) -> Any:
        """Return all values of a metric, in the order in which they were logged."""
        identity = self._folders.identity(run_id)
        self._read_at[run_id, metric_key] = int(time() * 1000)
        points = MlflowRecord.of(sessions.reading(identity)).points.get(metric_key, [])
        if max_results is None:
            return PagedList(points[SearchUtils.parse_start_offset_from_page_token(page_token) :], None)
        return PagedList(*SearchUtils.paginate(points, page_token, max_results))

    @translating
    def log_inputs(self, run_id: str, datasets: Any = None, models: Any = None) -> None:
        """Log data sets and models that a run uses: an event."""
        entries = [{**dict(each.dataset), "tags": {tag.key: tag.value for tag in each.tags}} for each in datasets or ()]
        self._log_fields(run_id, datasets=entries, model_inputs=[{"model_id": each.model_id} for each in models or ()])

    @translating
    def log_outputs(self, run_id: str, models: Any) -> None:
        """Log models that a run made: an event."""
        self._log_fields(run_id, model_outputs=[{"model_id": each.model_id, "step": each.step} for each in models or ()])

    def _log_fields(self, run_id: str, **fields: list[Any]) -> None:
        data = {name: entries for name, entries in fields.items() if entries}
        if data:
            with self._writing(run_id) as exp:
                exp.log(EVENT, data)


def _experiment(group: Group) -> Any:
    stage = LifecycleStage.DELETED if group.is_deleted else LifecycleStage.ACTIVE
    tags = [ExperimentTag(key, value) for key, value in group.tags.items()]
    return Experiment(group.id, group.name, uri_of(group.folder), stage, tags, group.created, group.updated)


def _inputs(fields: Mapping[str, Any]) -> Any:
    datasets = []
    for entry in fields.get("datasets", ()):
        values = dict(entry)
        tags = [InputTag(key, value) for key, value in values.pop("tags").items()]
        datasets.append(DatasetInput(Dataset(**values), tags))
    return RunInputs(datasets, [LoggedModelInput(entry["model_id"]) for entry in fields.get("model_inputs", ())])


def _outputs(fields: Mapping[str, Any]) -> Any:
    return RunOutputs([LoggedModelOutput(entry["model_id"], entry["step"]) for entry in fields.get("model_outputs", ())])


_ABSENT = {
    "traces": (
        "start_trace", "log_spans", "get_trace_info", "get_trace", "batch_get_traces", "batch_get_trace_infos", "search_traces",
        "_delete_traces", "set_trace_tag", "delete_trace_tag", "link_traces_to_run", "unlink_traces_from_run",
        "link_prompts_to_trace", "query_trace_metrics", "calculate_trace_filter_correlation", "find_completed_sessions",
    ),
    "assessments of traces": ("get_assessment", "create_assessment", "update_assessment", "delete_assessment"),
    "scorers": ("register_scorer", "list_scorers", "get_scorer", "list_scorer_versions", "delete_scorer"),
    "issues": ("create_issue", "get_issue", "update_issue", "search_issues"),
}  # fmt: skip
"""Calls of MLflow for which mlv has no counterpart, by their subject."""


def _refusal(subject: str, name: str) -> Any:
    def call(*_: Any, **__: Any) -> Any:
        raise absent(subject, f"for {name} set another tracking URI, such as sqlite:///mlflow.db")

    call.__name__, call.__doc__ = name, "Refuse the call.\n\nRaises:\n    MlflowException: Always."
    return call


for _subject, _names in _ABSENT.items():
    for _name in _names:
        setattr(Store, _name, _refusal(_subject, _name))
update_abstractmethods(Store)

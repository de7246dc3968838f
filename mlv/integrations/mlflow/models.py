"""Logged models of MLflow: sub-experiments of the runs that made them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import time
from typing import TYPE_CHECKING, Any

from mlflow.entities import LifecycleStage
from mlflow.entities.logged_model import LoggedModel
from mlflow.entities.logged_model_status import LoggedModelStatus
from mlflow.entities.metric import Metric
from mlflow.store.entities.paged_list import PagedList
from mlflow.utils.name_utils import _generate_random_name
from mlflow.utils.search_utils import SearchLoggedModelsUtils

from mlv.integrations.mlflow import sessions
from mlv.integrations.mlflow.artifacts import FILES, uri_of
from mlv.integrations.mlflow.errors import missing
from mlv.integrations.mlflow.folders import MODEL, FolderIdentity, Folders, Group, milliseconds
from mlv.integrations.mlflow.making import add_params, made, remove, translating
from mlv.integrations.mlflow.records import EVENT, MlflowRecord, add_tags

_STATUSES = {"running": "PENDING", "ok": "READY", "ended": "READY"}
"""Statuses of MLflow; whatever else stopped the making of a model, it has failed."""
_MOST = 100


class Models:
    """The calls of the store that are about logged models."""

    if TYPE_CHECKING:
        _folders: Folders

        def _active_group(self, experiment_id: Any) -> Group: ...

        def _inside(self, experiment_ids: Sequence[str], stages: Sequence[str]) -> Iterator[FolderIdentity]: ...

    @translating
    def create_logged_model(
        self,
        experiment_id: str,
        name: str | None = None,
        source_run_id: str | None = None,
        tags: Any = None,
        params: Any = None,
        model_type: str | None = None,
    ) -> Any:
        """Make an experiment for a model: below the run that it comes from, or beside the runs."""
        group = self._active_group(experiment_id)
        name = name or _generate_random_name()
        exp = made(self._folders, group, source_run_id, MODEL, name)
        exp.log(EVENT, {"name": name, "source_run_id": source_run_id, "model_type": model_type})
        add_params(exp, params or ())
        identity = self._folders.note(exp)
        _set_tags(identity, tags or ())
        return self._model(identity)

    @translating
    def log_logged_model_params(self, model_id: str, params: Any) -> None:
        """Add params of a model."""
        with sessions.writing(self._folders.identity(model_id)) as exp:
            add_params(exp, params)

    @translating
    def finalize_logged_model(self, model_id: str, status: Any) -> Any:
        """End the making of a model: it is ready, or has failed."""
        identity = self._folders.identity(model_id)
        sessions.begin(identity).log(EVENT, {"end_time": int(time() * 1000)})
        sessions.end(identity.id, "failed" if status == LoggedModelStatus.FAILED else "ok")
        return self._model(identity)

    @translating
    def set_logged_model_tags(self, model_id: str, tags: Any) -> None:
        """Set tags of a model."""
        _set_tags(self._folders.identity(model_id), tags)

    @translating
    def delete_logged_model_tag(self, model_id: str, key: str) -> None:
        """Take away a tag of a model."""
        identity = self._folders.identity(model_id)
        if key not in MlflowRecord.of(sessions.reading(identity)).tags:
            raise missing(f"No tag with key {key!r} found for model with ID {model_id!r}")
        with sessions.writing(identity) as exp:
            add_tags(exp, {key: None})

    @translating
    def get_logged_model(self, model_id: str, allow_deleted: bool = False) -> Any:
        """Return a model."""
        identity = self._folders.identity(model_id)
        if identity.is_deleted and not allow_deleted:
            raise missing(f"Logged model '{model_id}' was deleted")
        return self._model(identity)

    @translating
    def delete_logged_model(self, model_id: str) -> None:
        """Move a model into the trash."""
        remove(self._folders.identity(model_id))

    @translating
    def search_logged_models(
        self,
        experiment_ids: Sequence[str],
        filter_string: str | None = None,
        datasets: Any = None,
        max_results: int | None = None,
        order_by: Any = None,
        page_token: Any = None,
    ) -> Any:
        """Return the models that a filter lets pass."""
        inside = self._inside(experiment_ids, [LifecycleStage.ACTIVE])
        models = [self._model(identity) for identity in inside if identity.is_model]
        ordered = SearchLoggedModelsUtils.sort(
            SearchLoggedModelsUtils.filter_logged_models(models, filter_string, datasets), order_by
        )
        return PagedList(*SearchLoggedModelsUtils.paginate(ordered, page_token, max_results or _MOST))

    def _model(self, identity: FolderIdentity) -> Any:
        record = MlflowRecord.of(sessions.reading(identity))
        exp, fields = record.exp, record.fields
        created = milliseconds(exp.runs[0].started) if exp.runs and exp.runs[0].started else 0
        source = fields.get("source_run_id")
        values = {name: summary.value for name, summary in exp.summary().items() if summary.statistic == "summary"}
        return LoggedModel(
            experiment_id=self._folders.group_id(identity),
            model_id=identity.own_id,
            name=fields.get("name", identity.path.name),
            artifact_location=uri_of(identity.path / FILES),
            creation_timestamp=created,
            last_updated_timestamp=record.end_time or created,
            model_type=fields.get("model_type"),
            source_run_id=source,
            status=LoggedModelStatus(_STATUSES.get(exp.status, "FAILED")),
            tags=record.tags,
            params={param.key: param.value for param in record.params},
            metrics=[Metric(name, value, created, 0, identity.own_id, run_id=source) for name, value in values.items()],
        )


def _set_tags(identity: FolderIdentity, tags: Any) -> None:
    with sessions.writing(identity) as exp:
        add_tags(exp, {tag.key: str(tag.value) for tag in tags})

"""The parts of wandb that are missing here: the reason, and the way to the same end."""

from __future__ import annotations

from typing import NoReturn

from mlv.compat.wandb.errors import MissingAttribute, UnsupportedError

_SERVER = "there is no server to ask or to send to: mlv.find(folder) reads experiments, and mlv ui shows them"
_TABLES = "log a wandb.Table, and join tables in SQL: mlv.find(folder).sql(query)"
_ARTIFACTS = "versions are plain files: artifact.exp is the experiment that logged one, and mlv sql finds those that use it"
_SWEEPS = "sweeps need no controller: wandb.sweep(config) begins one, and wandb.agent(sweep_id) tries its points"
_DELETED = "nothing is deleted through wandb: mlv rm does, and asks first"
_REASONS = {
    **dict.fromkeys(("InternalApi", "internal", "sync", "server", "viewer", "user", "users", "team"), _SERVER),
    **dict.fromkeys(("launch", "LaunchAgent", "launch_add", "reports", "workspaces", "automations", "link_artifact"), _SERVER),
    **dict.fromkeys(("link_model", "registry", "mark_model", "attach", "pin_config_keys"), _SERVER),
    **dict.fromkeys(("ArtifactTTL", "EvalTable"), _TABLES),
    **dict.fromkeys(("logged_by", "used_by", "link", "ttl", "manifest", "checkout"), _ARTIFACTS),
    **dict.fromkeys(("controller", "wandb_agent", "agents"), _SWEEPS),
    **dict.fromkeys(("reports", "report", "registries", "registry", "queued_run", "job", "automation", "run_queue"), _SERVER),
    "delete": _DELETED,
    **dict.fromkeys(("visualize", "Graph", "bokeh"), "log a figure of matplotlib or plotly, or a chart of wandb.plot"),
    "sklearn": "its charts are those of wandb.plot: confusion_matrix, roc_curve, pr_curve; or log a figure of matplotlib",
    "catboost": "mlv.integrations.catboost has a callback for it",
    "fastai": "mlv has no callback for fastai's own: log from a callback of yours",
    "tensorboard": "event files are not followed: init(sync_tensorboard=True) takes the scalars of SummaryWriter",
    "gym": "environments are not recorded: log a wandb.Video of their frames",
    "box3d": "boxes in space are given by their corners: Object3D.from_point_cloud(points, boxes)",
}


def missing(owner: str, name: str) -> NoReturn:
    """Refuse an attribute that is missing here.

    Raises:
        AttributeError: Always; a `MissingAttribute` with the reason where wandb has such an attribute.
    """
    reason = _REASONS.get(name)
    if reason is None:
        raise AttributeError(f"{owner!r} of mlv.compat.wandb has no attribute {name!r}")
    raise MissingAttribute(f"{owner}.{name} is not in mlv.compat.wandb: {reason}")


def refuse(call: str, advice: str) -> NoReturn:
    """Refuse a call that is not possible here.

    Raises:
        UnsupportedError: Always.
    """
    raise UnsupportedError(f"{call} is not possible in mlv.compat.wandb: {advice}")

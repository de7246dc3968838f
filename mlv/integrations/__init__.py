"""Bridges from other libraries into mlv, written against its public names: a module per library."""

from importlib import import_module

from mlv import InvalidArgument

_REGISTERED = ("accelerate", "lightning", "pytorch_lightning", "ray", "transformers")


def register(*libraries: str) -> None:
    """Have libraries find mlv by the hooks that they have for it; each is imported now.

    Args:
        libraries: `accelerate` for `log_with="mlv"`, `transformers` for `report_to="mlv"`; `lightning` and `pytorch_lightning`
            for the callback that each trainer gets; `ray` for one of each experiment of Tune.

    Raises:
        InvalidArgument: A library has no such hook.
        MissingExtra: One is not installed, or too old.
    """
    for library in libraries:
        if library not in _REGISTERED:
            raise InvalidArgument(f"{library!r} has nothing to register with: give {', '.join(_REGISTERED)}", library=library)
        import_module(f"mlv.integrations.{library}").register()

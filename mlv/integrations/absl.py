"""The bridge from absl: the flags of a script as params."""

from __future__ import annotations

from typing import Any

from mlv.integrations.frameworks import framework


def flag_values(flags: Any = None) -> dict[str, Any]:
    """Return the flags that the modules of the script define, and their values: `mlv.Exp("runs", params=flag_values())`.

    Those that absl itself defines, such as `verbosity`, are left out.

    Args:
        flags: The `FlagValues`; None takes `absl.flags.FLAGS`.

    Raises:
        MissingExtra: absl is not installed.
        absl.flags.UnparsedFlagAccessError: The flags are not parsed yet: call it within `app.run`.
    """
    values = framework("absl.flags", least="1.0", below="3", install="absl-py").FLAGS if flags is None else flags
    names = {flag.name for module, group in values.flags_by_module_dict().items() if not _is_own(module) for flag in group}
    return {name: value for name, value in sorted(values.flag_values_dict().items()) if name in names}


def _is_own(module: str) -> bool:
    return module.partition(".")[0] == "absl"

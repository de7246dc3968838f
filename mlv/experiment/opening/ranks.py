"""The rank of a process in its launch, and the key that all ranks of the launch share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from mlv import settings
from mlv.digests import sha256
from mlv.errors import InvalidArgument
from mlv.frozen import FrozenRecord
from mlv.store.owners import Owner

_LOOPBACK = ("localhost", "127.", "::1", "0.0.0.0")  # noqa: S104 - compared with, not listened on
_VARIABLES = (
    ("RANK", "WORLD_SIZE"),  # torchrun and launchers like it; a worker of `srun torchrun` has SLURM's as well
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
)
_OTHER_NUMBERS = ("LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID", "SLURM_NODEID")
_APART = "MLV_APART"
"""Variable by which an independent task tells its children that they are no ranks; those of a launch within it are."""
_RENDEZVOUS = ("MASTER_ADDR", "MASTER_PORT")
_NO_RENDEZVOUS = ("", "none")
"""Rendezvous IDs of `torchrun` that nobody chose."""


class LaunchRank(FrozenRecord):
    """The rank of a process in its launch."""

    rank: int = 0
    variable: str | None = None
    """The environment variable of the rank; None for a process that was launched alone."""
    key: str | None = None
    """A text that all ranks of a launch share, and no other launch as far as possible; None where nothing names the launch."""
    is_unique: bool = False
    """Whether no later launch has the same key: otherwise only a run that is going on is taken to be of this one."""
    is_joint: bool = False
    """Whether the ranks surely work together: they have a rendezvous. `srun` and `mpirun` start independent tasks as well."""

    @property
    def is_main(self) -> bool:
        """Whether this is the rank that makes experiments."""
        return self.rank == 0


def launch_rank_of(environ: Mapping[str, str], process: Owner) -> LaunchRank:
    """Return the rank of a process in its launch, read from its environment.

    Raises:
        InvalidArgument: A rank is no number.
    """
    for rank, size in _VARIABLES:
        if rank in environ and (size in environ or rank != "RANK"):
            if _number(environ, rank) == 0 and environ.get(size) == "1":
                return LaunchRank()
            key_fields, is_unique = _launch(environ, rank, process)
            key = sha256("\0".join(key_fields).encode("utf-8", "surrogatepass")).hexdigest() if key_fields else None
            is_joint = rank == "RANK" or bool(environ.get("MLV_LAUNCH")) or len(_assignments(environ, *_RENDEZVOUS)) == 2
            return LaunchRank(_number(environ, rank), rank, key, is_unique, is_joint)
    return LaunchRank()


def this_launch_rank(ranks: str = "main") -> LaunchRank:
    """Return the rank of the calling process; that of a process launched alone, where `ranks` or the setting says `apart`."""
    if ranks == "apart" or settings.RANKS.get() == "apart":
        return LaunchRank()
    launch_rank = launch_rank_of(os.environ, Owner.current())
    return LaunchRank() if os.environ.get(_APART) == _marker_of(launch_rank) else launch_rank


def own_numbers(environ: Mapping[str, str]) -> frozenset[int]:
    """Return the numbers that this process has in its launch: its rank, that on its host, and its host's."""
    texts = (environ.get(name, "") for name in (*(rank for rank, _ in _VARIABLES), *_OTHER_NUMBERS))
    return frozenset(int(text) for text in texts if text.isdecimal() and text.isascii())


def go_apart(launch_rank: LaunchRank) -> None:
    """Treat this process, and its children of the same rank, as launched alone from now on."""
    os.environ[_APART] = _marker_of(launch_rank)


def _marker_of(launch_rank: LaunchRank) -> str:
    return f"{launch_rank.variable}={launch_rank.rank} {launch_rank.key}"


def checked_ranks(ranks: object) -> str:
    """Accept which ranks write.

    Raises:
        InvalidArgument: It is none of `main`, `all` and `apart`.
    """
    if ranks not in ("main", "all", "apart"):
        raise InvalidArgument(f"ranks={ranks!r:.100}: give 'main', 'all' or 'apart'", ranks=ranks)
    return str(ranks)


def _number(environ: Mapping[str, str], variable: str) -> int:
    text = environ[variable]
    if not text.isdecimal() or not text.isascii():
        raise InvalidArgument(f"{variable}={text!r:.100} in the environment is no rank: set a number, or unset it", rank=text)
    return int(text)


def _launch(environ: Mapping[str, str], rank: str, process: Owner) -> tuple[Sequence[str], bool]:
    """Return the texts that name the launch, and whether they never come again; no texts where nothing names it."""
    restart = _assignments(environ, "TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
    if environ.get("MLV_LAUNCH"):
        return [*_assignments(environ, "MLV_LAUNCH"), *restart], True
    job, step = _assignments(environ, "SLURM_JOB_ID"), _assignments(environ, "SLURM_STEP_ID")
    run = [] if environ.get("TORCHELASTIC_RUN_ID", "") in _NO_RENDEZVOUS else _assignments(environ, "TORCHELASTIC_RUN_ID")
    master = _assignments(environ, *_RENDEZVOUS)
    if rank == "RANK" and (run or len(master) == 2):
        # One step for each node is a usual way to start torchrun, so that steps differ: the job's number does not.
        where = [f"{process.machine} {process.boot}"] if _is_loopback(environ.get("MASTER_ADDR", "")) else []
        return [*job, *run, *master, *where, *(step if where else ()), *restart], False
    space = _assignments(environ, "PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid") if rank.startswith(("OMPI", "PMI")) else []
    if space or job:
        return [*job, *(space or step), *restart], bool(space or step)
    return ([*master, *restart], False) if len(master) == 2 else ([], False)


def _assignments(environ: Mapping[str, str], *names: str) -> list[str]:
    return [f"{name}={environ[name]}" for name in names if environ.get(name)]


def _is_loopback(address: str) -> bool:
    return address.startswith(_LOOPBACK)

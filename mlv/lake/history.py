"""The plans of a lake, read in their order: each must follow on the one before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import orjson

from mlv.bucket.store import ObjectStore
from mlv.digests import sha256
from mlv.errors import LakeDamaged, NoSuchObject
from mlv.lake import plans
from mlv.lake.plans import Plan, Positions


def following(store: ObjectStore, positions: Positions) -> Iterator[tuple[Plan, list[str] | None]]:
    """Yield the plans behind some positions; the caller folds each before the next.

    Each comes with the paths of which the bytes were gone when it was carried out, as far as no later plan replaces their rows;
    None where it is not done.

    Positions that have no plan yet become those of a checkpoint, if there is one.

    Raises:
        LakeDamaged: A plan is missing, or was edited.
        LakeTooNew: A newer version of mlv made one.
    """
    if not positions.number:
        _read_checkpoint(store, positions)
    before = positions.number
    numbers = [
        number
        for stored in store.objects(plans.FOLDER, after=plans.key_of(before) if before else "")
        if (number := plans.number_of(stored.key)) is not None
    ]
    if before and not numbers:
        _check_last(store, positions)
    for number in numbers:
        if number != positions.number + 1:
            raise LakeDamaged(f"{store.url}: plan {positions.number + 1} is missing: {plans.ADVICE}", url=store.url)
        plan = plans.plan_of(store.get(plans.key_of(number)), number, positions.sha256, store.url)
        # A plan is made only once the one before it is done.
        yield plan, [] if number < numbers[-1] else _gone(store, plan)


def _gone(store: ObjectStore, plan: Plan) -> list[str] | None:
    """Return the paths of a plan of which the bytes were gone; None where not every table has its rows.

    Raises:
        LakeDamaged: The plan was edited since.
    """
    try:
        note = orjson.loads(store.get(plans.key_of(plan.number, plans.DONE)))
    except NoSuchObject:
        return None
    if note.get("sha256") != plan.sha256:
        raise LakeDamaged(f"{store.url}: plan {plan.number} was edited: {plans.ADVICE}", url=store.url)
    return list(note.get("gone", ()))


def _check_last(store: ObjectStore, positions: Positions) -> None:
    """Refuse a last plan that was edited since it was carried out."""
    with suppress(NoSuchObject):
        if sha256(store.get(plans.key_of(positions.number))).hexdigest() == positions.sha256:
            return
    raise LakeDamaged(f"{store.url}: plan {positions.number} was edited, or is missing: {plans.ADVICE}", url=store.url)


def _read_checkpoint(store: ObjectStore, positions: Positions) -> None:
    keys = (stored.key for stored in store.objects(plans.POSITIONS))
    numbers = [number for key in keys if (number := plans.number_of(key, plans.POSITIONS)) is not None]
    for number in sorted(numbers, reverse=True):
        with suppress(ValueError, KeyError, TypeError, NoSuchObject):  # then earlier ones, or all plans, are read
            vars(positions).update(vars(plans.positions_of(store.get(plans.key_of(number, plans.POSITIONS)))))
            return

"""Steps in their stored form, those of other loggers included."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mlv.encoding.conversion import Conversion
from mlv.encoding.forms import SMALLEST
from mlv.encoding.texts import EXACT_TEXTS, shown, type_name
from mlv.errors import InvalidStep
from mlv.foreign import is_of_standard_library, is_of_time, plain_forms, single
from mlv.interrupts import read_or_itself

_INTEGERS = frozenset({int})
_FAR = 2**63


def step_number(step: Any) -> Any:
    """Return the step in its stored form; a `ForeignStep`, of another logger, as text or list.

    Raises:
        InvalidStep: It is not a finite number within 64 bits.
    """
    if step is None or (type(step) is int and SMALLEST <= step < 2**63):
        return step
    if type(step) is ForeignStep:
        return step.plain()
    plain = read_or_itself(_read_number, step)
    if type(plain) is bool or not issubclass(type(plain), (int, float)):  # of its real type: an object may lie about its class
        text = f"step={shown(step)} is of type {type_name(step)}: give a number, or leave it out"
        raise InvalidStep(text, step=step)
    exact = int.__int__(plain) if isinstance(plain, int) else float.__float__(plain)
    if not (SMALLEST <= exact < 2**63 if isinstance(exact, int) else math.isfinite(exact)):
        text = f"step={shown(step)} is not a finite number within 64 bits: give one, or leave it out"
        raise InvalidStep(text, step=step)
    return exact


class ForeignStep:
    """A step of another logger, such as `"PARAMETER"` or `(epoch, iteration)`: a text, or a sequence of numbers and texts.

    Given as `log({...}, step=mlv.ForeignStep((0, 17)))`; the line's `step` is then a text or a list. Only for scripts that
    were written for that logger: readers count such lines as ones without a step.
    """

    __slots__ = ("value",)

    def __init__(self, value: str | Sequence[Any]) -> None:
        self.value = value

    def plain(self) -> Any:
        """Return the JSON form.

        Raises:
            InvalidStep: It has none.
        """
        step = self.value
        if type(step) is tuple and _INTEGERS.issuperset(map(type, step)) and all(-_FAR < number < _FAR for number in step):
            return list(step)  # as nearly all are
        conversion = Conversion()
        form = conversion.value(list(self.value) if isinstance(self.value, (tuple, list)) else self.value)
        if conversion.problems or conversion.nonfinite or not isinstance(form, (str, list)):
            raise InvalidStep(f"step={shown(self.value)} is neither a text nor a list of numbers and texts", step=self.value)
        return form


def _read_number(value: Any) -> Any:
    """Return the Python number in a value of a library, None where it is missing; anything else as it is."""
    if isinstance(value, (int, float)) or is_of_time(value) or is_of_standard_library(value, EXACT_TEXTS):
        return value
    element = single(value)
    return element if isinstance(element, (int, float)) else next(plain_forms(element), element)

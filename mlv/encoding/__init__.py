"""Events to lines and back: the only room that converts between Python values and their JSON forms.

Other rooms import from here: `conversion.py` makes the JSON form of a value, `composing.py` the bytes of a line, and
`decoding.py` the event and the value again.
"""

from mlv.encoding.composing import DATA, STEP, TAIL, Clean, Composer, as_tail, dumps, head, tail
from mlv.encoding.conversion import PLAIN, Conversion, canonical, json_of_any
from mlv.encoding.decoding import BadLine, event_from_line, is_too_deep, loads, parse_time, records_from_lines, restored
from mlv.encoding.forms import DEEPEST, TAG, Huge, Reference, as_reference, digits
from mlv.encoding.mappings import as_mapping
from mlv.encoding.steps import ForeignStep, step_number
from mlv.encoding.texts import TIME_LENGTH, shown, text_only, type_name, utc_text

__all__ = [
    "DATA",
    "DEEPEST",
    "PLAIN",
    "STEP",
    "TAG",
    "TAIL",
    "TIME_LENGTH",
    "BadLine",
    "Clean",
    "Composer",
    "Conversion",
    "ForeignStep",
    "Huge",
    "Reference",
    "as_mapping",
    "as_reference",
    "as_tail",
    "canonical",
    "digits",
    "dumps",
    "event_from_line",
    "head",
    "is_too_deep",
    "json_of_any",
    "loads",
    "parse_time",
    "records_from_lines",
    "restored",
    "shown",
    "step_number",
    "tail",
    "text_only",
    "type_name",
    "utc_text",
]

"""Typed values that stand in a text: where, and what they are as JSON."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, product
from typing import Any, Literal, NamedTuple

from pp_resources.models.encoder.dates import date_times, dates, times
from pp_resources.models.encoder.numbers import numbers

FORMATS = ("date", "time", "date-time")
_FORMS = {
    "date": ("%Y-%m-%d",),
    "time": ("%H:%M:%SZ", "%H:%M:%S", "%H:%M"),
    "date-time": ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"),
}


class Reading(NamedTuple):
    """`value` stands at characters `start` to `end`."""

    start: int
    end: int
    value: Any


@dataclass(frozen=True)
class Reader:
    """How one field writes what the text says. Which convention holds is learnt from the training rows (`conventions.py`), not guessed.

    `form` (strftime) is that of the gold values; RFC 3339 is tried first.
    """

    kind: Literal["number", "integer", "date", "time", "date-time"]
    decimal_comma: bool = False
    day_first: bool = False
    afternoon: bool = False
    form: str = ""

    def read(self, text: str) -> list[Reading]:
        """Every value of the kind in the text, in order; of two in one place the longer."""
        found = sorted(set(self._found(text)), key=lambda r: (r.start, -r.end))
        ends = accumulate((reading.end for reading in found), max, initial=0)
        return [reading for reading, before in zip(found, ends) if reading.end > before]

    def conventions(self) -> list["Reader"]:
        """This kind of reader with each combination of conventions, the default first."""
        if self.kind in ("number", "integer"):
            return [replace(self, decimal_comma=comma) for comma in (False, True)]
        afternoons = (False,) if self.kind == "date" else (False, True)
        days = (False,) if self.kind == "time" else (False, True)
        return [replace(self, form=f, day_first=d, afternoon=a) for f, d, a in product(_FORMS[self.kind], days, afternoons)]

    def _found(self, text: str) -> Iterator[Reading]:
        match self.kind:
            case "number":
                yield from (Reading(*found) for found in numbers(text, self.decimal_comma))
            case "integer":
                yield from (Reading(a, b, int(value)) for a, b, value in numbers(text, self.decimal_comma) if value == int(value))
            case "date":
                yield from (Reading(a, b, value.isoformat()) for a, b, value in dates(text, self.day_first))
            case "time":
                yield from (Reading(a, b, value.strftime(self._form)) for a, b, value in times(text, self.afternoon))
            case _:
                moments = date_times(text, self.day_first, self.afternoon)
                yield from (Reading(a, b, value.strftime(self._form)) for a, b, value in moments)

    @property
    def _form(self) -> str:
        return self.form or _FORMS[self.kind][0]

"""Dates and times of day as English text writes them. Nothing depends on the day of reading: a date without its year is none."""

import re
from collections.abc import Iterator
from datetime import date, datetime, time

_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december")
_MONTH = "|".join(f"{name[:3]}(?:{name[3:]})?" if len(name) > 3 else name for name in _MONTHS).replace("sep(?:", "sept?(?:")
_HOURS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_MINUTES = {"five": 5, "ten": 10, "quarter": 15, "a quarter": 15, "twenty": 20, "twenty five": 25, "twenty-five": 25, "half": 30}
_MINUTE = "|".join(sorted(_MINUTES, key=len, reverse=True))
_DAY, _YEAR = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?", r"(?P<year>\d{4}|['’]?\d{2})(?!\w|[:.]\d)"
_DATES = [
    re.compile(pattern, re.I)
    for pattern in (
        r"(?<!\d)(?P<year>\d{4})(?P<sep>[-/.])(?P<month>\d{1,2})(?P=sep)(?P<day>\d{1,2})(?!\d)",
        rf"(?<![\d/.-])(?P<one>\d{{1,2}})(?P<sep>[-/.])(?P<two>\d{{1,2}})(?P=sep){_YEAR}",
        rf"(?<!\d){_DAY}(?:[ -]| of )(?P<name>{_MONTH})\b\.?,?[ -]{_YEAR}",
        rf"\b(?P<name>{_MONTH})\b\.?[ -](?:the )?{_DAY},?[ -]{_YEAR}",
    )
]
_HALF = r"(?:\s?(?P<half>[ap])\.?m\b\.?| (?P<part>in the (?:morning|afternoon|evening)|at night))"
_HOUR = rf"(?P<hour>\d{{1,2}}|{'|'.join(_HOURS)})"
_TIMES = [
    re.compile(pattern, re.I)
    for pattern in (
        rf"(?<![\d:.,+])(?P<hour>\d{{1,2}})[:.](?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?:\.0+)?(?![\d:]|\.\d)(?:Z\b|[+]00:00|{_HALF}|(?![+]))",
        rf"(?<![\d:.,])\b{_HOUR}(?: o['’]?clock)?{_HALF}",
        rf"(?<![\d:.,])\b{_HOUR} o['’]?clock\b",
        rf"\b(?P<minutes>{_MINUTE}|[1-5]?\d)(?: minutes?)? (?P<to>past|to|after|before) {_HOUR}\b{_HALF}?",
        r"\b(?P<named>noon|midday|midnight)\b",
    )
]
_BETWEEN = re.compile(r"T|,? (?:at |on |@ ?)?(?:the )?", re.I)


def dates(text: str, day_first: bool) -> Iterator[tuple[int, int, date]]:
    """(start, end, date) of each full date; "3/4/2025" is 3 April when `day_first`, else March 4.

    Two-digit years are those from 1969 to 2068, as POSIX has it.
    """
    for pattern in _DATES:
        for found in pattern.finditer(text):
            part = found.groupdict()
            year = int(part["year"].strip("'’"))
            if year < 100:
                year += 2000 if year < 69 else 1900
            if part.get("name"):
                month, day = 1 + [name[:3] for name in _MONTHS].index(part["name"][:3].lower()), int(part["day"])
            elif part.get("one"):
                one, two = int(part["one"]), int(part["two"])
                day, month = (one, two) if two <= 12 and (day_first or one > 12) else (two, one)
            else:
                month, day = int(part["month"]), int(part["day"])
            try:
                yield found.start(), found.end(), date(year, month, day)
            except ValueError:
                continue


def times(text: str, afternoon: bool) -> Iterator[tuple[int, int, time]]:
    """(start, end, time) of each time of day. Hours from 1 to 11 without am, pm or a leading zero lie after noon when `afternoon`."""
    for pattern in _TIMES:
        for found in pattern.finditer(text):
            value = _time({"hour": "", **found.groupdict(default="")}, afternoon)
            if value is not None:
                yield found.start(), found.end(), value


def date_times(text: str, day_first: bool, afternoon: bool) -> Iterator[tuple[int, int, datetime]]:
    """(start, end, moment) of each date with a time right before or behind it."""
    clock = list(times(text, afternoon))
    for start, end, day in dates(text, day_first):
        for first, last, moment in clock:
            between = text[end:first] if first >= end else text[last:start] if start >= last else None
            if between is not None and _BETWEEN.fullmatch(between):
                yield min(start, first), max(end, last), datetime.combine(day, moment)


def _half_of(part: str, hour: int) -> str:
    """a or p, as with "am" and "pm", of "in the evening" and the like; the night goes from 6 pm to 5 am."""
    if part == "at night":
        return "p" if 6 <= hour <= 11 else "a"
    return part and ("a" if part.endswith("morning") else "p")


def _time(part: dict[str, str], afternoon: bool) -> time | None:
    if part.get("named"):
        return time(0 if part["named"].lower() == "midnight" else 12)
    written = part["hour"].lower()
    hour = _HOURS.index(written) + 1 if written in _HOURS else int(written)
    half = part.get("half", "").lower() or _half_of(part.get("part", "").lower(), hour)
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (half == "p")
    elif afternoon and 1 <= hour <= 11 and not written.startswith("0"):
        hour += 12
    minute = int(part.get("minute") or 0)
    if part.get("to"):
        told = part["minutes"].lower()
        minute = _MINUTES[told] if told in _MINUTES else int(told)
        if part["to"].lower() in ("to", "before"):
            hour, minute = (hour - (minute > 0)) % 24, (60 - minute) % 60
    return time(hour, minute, int(part.get("second") or 0)) if hour < 24 else None

"""Texts made clean: encoding mended, control characters and stray white space taken out, and, where it is wanted, personal data masked.

Input and output of a row are changed alike, so that a value which was copied from the text is still a copy. Changes are counted by kind.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from pp_assets.data.rows_file import rows_file
from pp_assets.task.lines import Fault, parse_line, read_lines, shorten
from pp_assets.task.reader import Rejected
from pp_resources.errors import UserError

SHOWN = 10
# What UTF-8 becomes when it is read as Windows-1252, most often: â€™ for ’, Ã© for é, Â£ for £.
_MOJIBAKE = re.compile("[ÂÃâÄÅðÐÑ][\u0080-\u00ff\u2010-\u203a\u20ac\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2122]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060\ufeff]")
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?\n ?")
_BLANK = re.compile(r"\n{3,}")
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,24}\b")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b")
_CARD = re.compile(r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])")
_IP = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4})(?![\w:]|\.\d)")
_ABROAD = r"(?<![\w#+-])(?<!\d )(?:\+\d{1,3}[ .-]?(?:\(0\))?|\(?0)\(?\d{1,4}\)?(?:[ ./-]?\d{2,4}){2,4}(?![\w-])"
_PHONE = re.compile(_ABROAD + r"|(?<![\w-])(?<!\d )\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\w-])")
PII = ("email", "iban", "card", "ip", "phone")


@dataclass
class Cleaned:
    """What was done: rows, those that changed, changes by kind, a few of them to look at, quarantined lines."""

    rows: int = 0
    changed: int = 0
    changes: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    sample: list[dict[str, str]] = field(default_factory=list)
    quarantine: str = ""


def clean_file(source: Path, to: Path, *, mask: bool = False) -> Cleaned:
    """Write the lines of a JSONL file, clean, to `to`; what is no JSON object goes to `to`.quarantine.jsonl. Keys and order stay."""
    if not source.is_file():
        raise UserError("no such file", where=str(source), how="give a JSONL file; pp data collect makes one of other kinds")
    if source.resolve() == to.resolve():
        raise UserError("a file is not overwritten by its clean copy", where=str(to), how="give another name with --to")
    done = Cleaned()
    with rows_file(to) as file:
        for number, raw in read_lines(source):
            if not raw.strip():
                continue
            try:
                file.write(_clean_row(parse_line(raw), done, number, mask))
            except Fault as fault:
                file.reject(Rejected(source.name, number, fault.code, fault.field, fault.reason, shorten(raw)))
        if not file.rows:
            raise UserError("no line is a row", where=str(source), how="each line must be a JSON object with input_text")
    done.rows, done.rejected, done.quarantine = file.rows, file.rejected, file.quarantine
    return done


def clean_text(text: str) -> tuple[str, Counter[str]]:
    """The text in good order and the changes by kind: mojibake, control, unicode (NFC), whitespace. A second time changes nothing."""
    changes: Counter[str] = Counter()
    steps: tuple[tuple[str, Callable[[str], str]], ...] = (
        ("mojibake", _mend),
        ("control", lambda t: _CONTROL.sub("", t.replace("\r\n", "\n").replace("\r", "\n"))),
        ("unicode", lambda t: unicodedata.normalize("NFC", t)),
        ("whitespace", lambda t: _BLANK.sub("\n\n", _LINES.sub("\n", _SPACES.sub(" ", t))).strip()),
    )
    before = None
    while text != before:  # what one step takes away may join what another one mends
        before = text
        for kind, step in steps:
            changed = step(text)
            if changed != text:
                # A line end of Windows is white space, not a control character.
                changes["whitespace" if kind == "control" and changed == text.replace("\r\n", "\n") else kind] += 1
                text = changed
    return text, changes


class Mask:
    """Puts a placeholder such as [EMAIL_1] for each personal value of some kinds; within a row the same value has the same placeholder."""

    def __init__(self, kinds: Collection[str] = PII) -> None:
        self._finders = [finder for finder in _FINDERS if finder[0] in kinds]
        self.changes: Counter[str] = Counter()
        self._names: dict[tuple[str, str], str] = {}

    def text(self, text: str) -> str:
        """The text with e-mail addresses, IBANs (checksum), card numbers (Luhn), IP addresses and phone numbers masked."""
        for kind, pattern, holds in self._finders:
            text = pattern.sub(partial(self._masked, kind, holds), text)
        return text

    def _masked(self, kind: str, holds: Callable[[str], bool], found: re.Match[str]) -> str:
        return self._name(kind, found[0]) if holds(found[0]) else found[0]

    def _name(self, kind: str, value: str) -> str:
        key = kind, re.sub(r"[\s()./-]", "", value).casefold() if kind in ("iban", "card", "phone") else value.casefold()
        if key not in self._names:
            self._names[key] = f"[{kind.upper()}_{sum(k == kind for k, _ in self._names) + 1}]"
        self.changes[kind] += 1
        return self._names[key]


def luhn(number: str) -> bool:
    """The check digit of card numbers (ISO/IEC 7812)."""
    digits = [int(c) for c in number if c.isdigit()][::-1]
    doubled = (sum(divmod(2 * d, 10)) for d in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0 and len(set(digits)) > 1


def iban(value: str) -> bool:
    """The check digits of an IBAN (ISO 13616): modulo 97 is 1."""
    compact = value.replace(" ", "")
    return 15 <= len(compact) <= 34 and int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def _clean_row(row: Any, done: Cleaned, number: int, mask: bool) -> Any:
    if not isinstance(row, dict) or not isinstance(row.get("input_text"), str):
        raise Fault("wrong_type", "input_text", "the line is no object with the text input_text")
    changes: Counter[str] = Counter()
    masking = Mask() if mask else None

    def one(text: str) -> str:
        made, kinds = clean_text(text)
        changes.update(kinds)
        return masking.text(made) if masking else made

    after = {
        name: _each(value, one) if name in ("input_text", "output_json", "negative_examples") else value for name, value in row.items()
    }
    changes.update(masking.changes if masking else ())
    done.changes.update(changes)
    done.changed += bool(changes)
    if changes and len(done.sample) < SHOWN:
        what = ", ".join(sorted(changes))
        done.sample.append({"line": str(number), "what": what, "before": row["input_text"][:120], "after": after["input_text"][:120]})
    return after


def _each(value: Any, change: Callable[[str], str]) -> Any:
    """The value with every text in it changed; keys stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_each(one, change) for one in value]
    return {key: _each(one, change) for key, one in value.items()} if isinstance(value, dict) else value


def _mend(text: str) -> str:
    """UTF-8 that was read as Windows-1252, read right; the text as it is where that gives no text."""
    if not _MOJIBAKE.search(text):
        return text
    return "".join(_mended(part) for part in _runs(text))


def _runs(text: str) -> Iterator[str]:
    """Runs of characters that Windows-1252 has, and the rest, which was read right."""
    yield from re.findall(
        r"[\x00-\xff\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u2026\u2030\u2039\u203a\u20ac\u2122]+|.", text, re.S
    )


def _mended(part: str) -> str:
    # Five bytes have no character in Windows-1252; browsers and most programs keep them as control characters.
    data = b"".join(bytes([ord(c)]) if "\x80" <= c <= "\x9f" else c.encode("cp1252", "replace") for c in part)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return part


def _address(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return value.count(":") != 2 or "::" in value  # 12:30:45 is a time


_FINDERS: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("email", _EMAIL, lambda _: True),
    ("iban", _IBAN, iban),
    ("card", _CARD, luhn),
    ("ip", _IP, _address),
    ("phone", _PHONE, lambda value: 7 <= sum(c.isdigit() for c in value) <= 15),
)

"""Numbers as English text writes them: digits in groups, with a decimal point or a decimal comma, and words."""

import re
from collections.abc import Iterator

Found = tuple[int, int, int | float]

# fmt: off
_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen",
    "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
_ORDINALS = (
    "zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth",
    "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth",
)
# fmt: on
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SMALL = {word: n for words in (_UNITS, _ORDINALS) for n, word in enumerate(words)} | {"a": 1, "an": 1}
_SMALL |= {form: 10 * n for n, word in enumerate(_TENS, 2) for form in (word, word[:-1] + "ieth")}
_SCALES = {"dozen": 12, "thousand": 10**3, "million": 10**6, "billion": 10**9}

_SCALE, _UNIT, _TEN = "|".join(_SCALES), "|".join(_UNITS), "|".join(_TENS)
_LAST = "|".join((*_ORDINALS, *(word[:-1] + "ieth" for word in _TENS)))
_BELOW_100 = rf"(?:(?:{_TEN})(?:[ -](?:{_LAST}|{_UNIT}))?|{_LAST}|{_UNIT})"
_BELOW_1000 = rf"(?:(?:{_UNIT}|an?)[ -]hundred(?:(?: and)?[ -]{_BELOW_100})?|{_BELOW_100})"
_SCALED = rf"(?:{_BELOW_1000}|(?:half )?an?)[ -](?:{_SCALE})"
_JOIN = r"(?:,| and)? "
_FIRST = "".join(sorted({word[0] for word in (*_SMALL, "half")}))  # looked at first: three times as fast
_WORDS = re.compile(rf"\b(?=[{_FIRST}])(?:{_SCALED}(?:{_JOIN}{_SCALED})*(?:{_JOIN}{_BELOW_1000})?|{_BELOW_1000})\b", re.I)

_SPACES = "'’ \u00a0\u202f"
_LONGEST = 30  # digits; what is longer is an identifier
# A sign counts only where it joins nothing to what stands before it: "-5", not "3-5" or "A-5".
_CHUNK = re.compile(rf"(?:(?<![\w)])(?P<minus>[-−]|minus )[$€£¥]?)?(?P<body>(?<!\w)\.\d+|\d{{1,{_LONGEST}}}(?:[.,{_SPACES}]\d+)*)", re.I)
_POINT, _COMMA = (
    re.compile(rf"(\d*|\d{{1,3}}(?:([{group}{_SPACES}])\d{{3}})(?:\2\d{{3}})*)(?:[{point}](\d+))?") for point, group in (".,", ",.")
)
_GROUP = re.compile(rf"\d{{1,{_LONGEST}}}")
_SUFFIX = re.compile(rf"(?:k| (?:{_SCALE}))\b", re.I)


def numbers(text: str, decimal_comma: bool) -> Iterator[Found]:
    """(start, end, value) of each number; "1,250" is 1250, or 1.25 with a decimal comma.

    Digits that are no number together ("3.4.2025", "9 05") are read group by group.
    """
    for found in _CHUNK.finditer(text):
        value = _of_digits(found["body"], decimal_comma)
        if value is None:
            first = found.start("body")
            yield from ((first + group.start(), first + group.end(), int(group[0])) for group in _GROUP.finditer(found["body"]))
            continue
        end = found.end()
        scale = _SUFFIX.match(text, end)
        if scale:
            end = scale.end()
            value = _plain(value * _SCALES.get(scale[0].strip().lower(), 1000))
        yield found.start(), end, -value if found["minus"] else value
    for found in _WORDS.finditer(text):
        yield found.start(), found.end(), _of_words(found[0])


def _of_digits(body: str, decimal_comma: bool) -> int | float | None:
    formats = [_COMMA, _POINT] if decimal_comma else [_POINT, _COMMA]
    if len(body) > _LONGEST:
        return None
    # With both separators in it a number can be read in one way only.
    for form in formats if "," in body and "." in body else formats[:1]:
        found = form.fullmatch(body)
        if found:
            whole = re.sub(r"\D", "", found[1]) or "0"
            return float(f"{whole}.{found[3]}") if found[3] else int(whole)
    return None


def _of_words(words: str) -> int:
    """By accumulation: "two hundred and five thousand and one" is (2 * 100 + 5) * 1000 + 1."""
    total = current = 0
    parts = re.findall(r"[a-z]+", words.lower())
    for word in parts:
        if word == "hundred":
            current *= 100
        elif word in _SCALES:
            total, current = total + current * _SCALES[word], 0
        else:
            current += _SMALL.get(word, 0)
    return (total + current) // 2 if parts[0] == "half" else total + current


def _plain(value: float) -> int | float:
    """Without the noise of a product, and whole where it is whole."""
    value = round(value, 6)
    return int(value) if value == int(value) else value

"""What the data say about heads that the schema leaves open: how values are written, what an empty list means, what cannot be learnt."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pp_resources.json_schema import Schema, get_path
from pp_resources.models.encoder.compile import Head, compile_schema, problem, same, schema_problems
from pp_resources.models.encoder.occurrences import border, occurrences
from pp_resources.models.encoder.readings import Reader

Examples = Sequence[tuple[str, Mapping[str, Any]]]

# A string field whose gold values are mostly not in the text cannot be learnt as a pointer into it.
MIN_FOUND = 0.9
# Numbers and dates teach from the rows that spell them out; the others teach nothing.
MIN_READ = 0.5
# Copied strings are held to the borders of words where so many of them stand there: tags of the pieces of a word no longer disagree (of the
# entities of wnut17, validation rows, F1 0.567 instead of 0.551).
MIN_WHOLE = 0.99
CONVENTION_ROWS = 500  # with a value; enough to tell day-first from month-first
# Values that stand nowhere in the input can still be chosen when they are few and come back: MIN_FOUND of them are also in another row.
MAX_RECURRING = 64
# A field that is lost in so few of all rows is no reason to refuse the rest.
NEGLIGIBLE = 0.01


def learn(heads: Sequence[Head], examples: Examples) -> list[Head]:
    """The heads with what `examples` (input text, output) settle: conventions and fallback of values, `empty_is_null`, `whole_words`, and
    whether a field is copied, read or chosen."""
    given = [_given(head, examples) for head in heads]
    return [_in_words(_learn(head, examples, some), some) for head, some in zip(heads, given)]


def data_problems(schema: Schema, examples: Examples) -> list[str]:
    """Why heads cannot learn this output from these examples, one sentence a field, those of the schema itself first."""
    problems = schema_problems(schema)
    if problems:
        return problems
    for head in compile_schema(schema):
        given = _given(head, examples)
        reason = _missing(_learn(head, examples, given), given, len(examples))
        problems += [problem(head.path, reason)] if reason else []
    return problems


def _learn(head: Head, examples: Examples, given: list[tuple[str, Any]]) -> Head:
    if head.listing and head.nullable:
        values = [get_path(output, head.path) for _, output in examples]
        return replace(head, empty_is_null=values.count(None) > values.count([]))
    if head.kind == "value":
        head = _as_written(head, given)
    if head.kind == "choice" and head.schema.get("type") == "integer" and not {"enum", "const"} & head.schema.keys():
        read = _as_written(replace(head, kind="value", values=(), reader=Reader("integer")), given)
        return read if given and _lost(read, given[:CONVENTION_ROWS], MIN_FOUND) is None else head
    if head.kind in ("span", "value") and not head.schema.get("x-verbatim") and _lost(head, given[:CONVENTION_ROWS], _least(head)):
        return _recurring(head, given) or head
    return head


def _in_words(head: Head, given: list[tuple[str, Any]]) -> Head:
    if head.kind not in ("span", "tags", "items"):
        return head
    copied = [(text, item) for text, value in given[:CONVENTION_ROWS] for item in _strings(head, value)]
    places = [(text, *places[0]) for text, item in copied if (places := occurrences(text, item))]
    whole = sum(border(text, start) and border(text, end) for text, start, end in places)
    return replace(head, whole_words=whole >= MIN_WHOLE * len(places))


def _recurring(head: Head, given: list[tuple[str, Any]]) -> Head | None:
    """The head as a choice among the gold values, None when they are many or mostly occur once."""
    counts = Counter(value for _, value in given)
    again = sum(count for count in counts.values() if count > 1)
    if len(counts) > MAX_RECURRING or again < MIN_FOUND * len(given):
        return None
    values = (*sorted(counts), *((None,) if head.nullable else ()))
    return replace(head, kind="choice", values=values, reader=None, fallback=None)


def _as_written(head: Head, given: list[tuple[str, Any]]) -> Head:
    """The head with the conventions that read most of the gold values, or as a plain copied string where copying finds more of them."""
    assert head.reader
    reader = max(head.reader.conventions(), key=lambda reader: _count(reader, given))
    if head.reader.kind not in ("number", "integer"):
        copied = sum(bool(occurrences(text, value)) for text, value in given[:CONVENTION_ROWS])
        if copied > _count(reader, given) and head.nullable:
            return replace(head, kind="span", reader=None)
    common = Counter(value for _, value in given).most_common(1)
    return replace(head, reader=reader, fallback=common[0][0] if common and not head.nullable else None)


def _count(reader: Reader | None, given: list[tuple[str, Any]]) -> int:
    assert reader
    return sum(_read(reader, text, value) for text, value in given[:CONVENTION_ROWS])


def _read(reader: Reader, text: str, value: Any) -> bool:
    return any(same(found.value, value) for found in reader.read(text))


def _given(head: Head, examples: Examples) -> list[tuple[str, Any]]:
    """The input text and the value of each row that has one."""
    found = ((text, get_path(output, head.path)) for text, output in examples)
    return [(text, value) for text, value in found if value is not None]


def _missing(head: Head, given: list[tuple[str, Any]], rows: int) -> str | None:
    """The reason when too many values of a head that points into the input cannot be pointed at."""
    if head.kind not in ("span", "value", "tags", "items"):
        return None
    given = [(text, item) for text, value in given for item in _strings(head, value)]
    lost = _lost(head, given, _least(head))
    if not lost or len(lost) < NEGLIGIBLE * rows:
        return None
    if head.kind != "value":
        return f"is not copied from the input ({len(lost)} of {len(given)} values are not in it)"
    text, value = lost[0]
    shown = text if len(text) <= 60 else f"{text[:57]}..."
    return f"cannot be read off the input in {len(lost)} of {len(given)} rows (such as {value!r} from {shown!r})"


def _least(head: Head) -> float:
    return MIN_READ if head.kind == "value" else MIN_FOUND


def _lost(head: Head, given: list[tuple[str, Any]], least: float) -> list[tuple[str, Any]] | None:
    """The values that do not stand in their text, None when at least a share of `least` does."""
    reader = head.reader
    lost = [(text, value) for text, value in given if not (_read(reader, text, value) if reader else occurrences(text, value))]
    return lost if len(given) - len(lost) < least * len(given) else None


def _strings(head: Head, value: Any) -> Iterable[Any]:
    if head.kind == "items":
        return [get_path(item, head.anchor) for item in value]
    return value if isinstance(value, list) else [value]

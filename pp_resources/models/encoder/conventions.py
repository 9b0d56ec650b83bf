"""What the data say about heads that the schema leaves open: how values are written, what an empty list means, what cannot be learnt."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pp_resources.json_schema import Schema, get_path
from pp_resources.models.encoder.compile import Head, compile_schema, problem, same, schema_problems
from pp_resources.models.encoder.occurrences import occurrences
from pp_resources.models.encoder.readings import Reader

Examples = Sequence[tuple[str, Mapping[str, Any]]]

# A string field whose gold values are mostly not in the text cannot be learnt as a pointer into it.
MIN_FOUND = 0.9
# Numbers and dates teach from the rows that spell them out; the others teach nothing.
MIN_READ = 0.5
CONVENTION_ROWS = 500  # with a value; enough to tell day-first from month-first


def learn(heads: Sequence[Head], examples: Examples) -> list[Head]:
    """The heads with what `examples` (input text, output) settle: conventions and fallback of values, `empty_is_null`, and whether an
    integer of a few values is chosen or read."""
    return [_learn(head, examples) for head in heads]


def data_problems(schema: Schema, examples: Examples) -> list[str]:
    """Why heads cannot learn this output from these examples, one sentence a field, those of the schema itself first."""
    problems = schema_problems(schema)
    if problems:
        return problems
    found = ((head, _missing(head, examples)) for head in learn(compile_schema(schema), examples))
    return [problem(head.path, reason) for head, reason in found if reason]


def _learn(head: Head, examples: Examples) -> Head:
    if head.kind in ("flags", "tags", "items") and head.nullable:
        values = [get_path(output, head.path) for _, output in examples]
        return replace(head, empty_is_null=values.count(None) > values.count([]))
    if head.kind == "value":
        return _as_written(head, list(_given(head, examples)))
    if head.kind == "choice" and head.schema.get("type") == "integer" and "enum" not in head.schema:
        given = list(_given(head, examples))
        read = _as_written(replace(head, kind="value", values=(), reader=Reader("integer")), given)
        return read if given and _count(read.reader, given) >= MIN_FOUND * len(given[:CONVENTION_ROWS]) else head
    return head


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


def _given(head: Head, examples: Examples) -> Iterator[tuple[str, Any]]:
    for text, output in examples:
        value = get_path(output, head.path)
        if value is not None:
            yield text, value


def _missing(head: Head, examples: Examples) -> str | None:
    """The reason when too many values of a head that points into the input cannot be pointed at."""
    if head.kind == "value":
        assert head.reader
        given = list(_given(head, examples))
        lost = [(text, value) for text, value in given if not _read(head.reader, text, value)]
        if given and len(lost) > (1 - MIN_READ) * len(given):
            text, value = lost[0]
            shown = text if len(text) <= 60 else f"{text[:57]}..."
            return f"cannot be read off the input in {len(lost)} of {len(given)} rows (such as {value!r} from {shown!r})"
        return None
    if head.kind not in ("span", "tags", "items"):
        return None
    total = found = 0
    for text, value in _given(head, examples):
        for item in _strings(head, value):
            total += 1
            found += bool(occurrences(text, item))
    if total and found < MIN_FOUND * total:
        return f"is not copied from the input ({total - found} of {total} values are not in it)"
    return None


def _strings(head: Head, value: Any) -> Iterable[str]:
    if head.kind == "items":
        return [get_path(item, head.anchor) for item in value]
    return value if isinstance(value, list) else [value]

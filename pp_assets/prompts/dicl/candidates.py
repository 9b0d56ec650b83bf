"""What may become a worked example: training rows, demonstrations, and answers that people called good."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from pp_assets.task.examples import Example
from pp_resources.fingerprint import digest
from pp_resources.json_schema import Schema, canonical_output
from pp_resources.store.read_feedback import Said
from pp_resources.store.rows import VALUES

Origin = Literal["row", "feedback", "demonstration"]
ORIGINS: tuple[Origin, ...] = ("row", "feedback", "demonstration")  # what comes later knows better
GOOD = 0.75  # a rating in 0..1 from which an answer is an example; below BAD it is none, in between nothing is said
BAD = 0.5
RATING = "rating"  # the metric of `pp feedback add --good`


@dataclass(frozen=True)
class Candidate:
    """An input with its output as compact JSON (or as it came, where it is not JSON). `parents` are the ids of the row, or of inference
    and feedback; `at` the time of the evidence (microseconds, 0 for rows); rows of one `group` do not speak for each other."""

    input_text: str
    output_text: str
    origin: Origin
    parents: tuple[str, ...]
    at: int = 0
    subject: str | None = None
    group: str = ""

    @cached_property
    def key(self) -> str:
        """Equal for equal input and output (32 hex digits)."""
        return digest([self.input_text, self.output_text])[:32]

    @cached_property
    def output(self) -> Any:
        """The output as a value, None where it is not JSON."""
        try:
            return json.loads(self.output_text)
        except ValueError:
            return None


@dataclass(frozen=True)
class Evidence:
    """What feedback says: candidates, by key when an answer was last called bad, and the ids of all feedback there is, with those that no
    longer count or speak against."""

    candidates: list[Candidate]
    bad: Mapping[str, int]
    there: frozenset[str]


def of_rows(schema: Schema, rows: Iterable[Example]) -> list[Candidate]:
    """Training rows."""
    return [Candidate(row.input_text, text_of(schema, row.output), "row", (row.item_id,), group=row.group) for row in rows]


def of_feedback(schema: Schema, said: Sequence[Said], subjects: Mapping[str, str | None], metrics: Collection[str] = (RATING,)) -> Evidence:
    """Demonstrations in force, and answers that all values in force call good, one of them at least. `said` is all feedback of a task,
    `subjects` whose an inference is. Only these `metrics` are judgements, of which more is better, in 0..1: one with a value outside of
    that says nothing. What is said of an episode is said of no single answer, and makes no example."""
    found: list[Candidate] = []
    judging = set(metrics) - {one.metric for one in said if one.value is not None and not 0 <= one.value <= 1}
    corrected: dict[str, str] = {}
    values: dict[tuple[str, str], list[Said]] = {}
    for one in said:
        if not one.counts or one.input is None:
            continue
        if one.kind == "demonstration" and one.output is not None:
            found.append(_candidate(schema, one, one.output, "demonstration", [one], subjects))
            corrected[_target(one)] = found[-1].key
        elif one.kind in VALUES and one.answer is not None and one.metric in judging:
            values.setdefault((_target(one), one.answer), []).append(one)
    bad: dict[str, int] = {}
    for (target, answer), several in values.items():
        marks = [one.value for one in several if one.value is not None]
        made = _candidate(schema, several[0], answer, "feedback", several, subjects)
        if min(marks) < BAD:
            bad[made.key] = max(bad.get(made.key, 0), max(one.at for one in several if one.value is not None and one.value < BAD))
        elif max(marks) >= GOOD and corrected.get(target, made.key) == made.key:
            found.append(made)
    return Evidence(merged(found), bad, frozenset(one.id for one in said))


def merged(candidates: Iterable[Candidate]) -> list[Candidate]:
    """One candidate for equal input and output: of the best origin, with the last time and the parents of all. By key."""
    found: dict[str, Candidate] = {}
    for one in candidates:
        other = found.get(one.key)
        if other is not None:
            best, less = sorted((one, other), key=rank)
            parents = tuple(dict.fromkeys([*best.parents, *less.parents]))
            subject, group = best.subject or less.subject, best.group or less.group
            one = replace(best, parents=parents, at=max(one.at, other.at), subject=subject, group=group)
        found[one.key] = one
    return [found[key] for key in sorted(found)]


def rank(one: Candidate) -> tuple[int, int, str]:
    """Who goes first where two cannot both be: the better origin, then the later evidence, then the smaller key."""
    return -ORIGINS.index(one.origin), -one.at, one.key


def text_of(schema: Schema, output: Any) -> str:
    """One text for equal outputs: keys sorted, so that it does not matter who wrote it."""
    return json.dumps(canonical_output(schema, output), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _candidate(
    schema: Schema, one: Said, output: str, origin: Origin, several: Sequence[Said], subjects: Mapping[str, str | None]
) -> Candidate:
    try:
        text = text_of(schema, json.loads(output))
    except ValueError:
        text = output
    inference = [one.inference] if one.inference else []
    # The text is that of the person who was answered, whoever judged it.
    subject = (subjects.get(one.inference) if one.inference else None) or one.subject
    parents = (*inference, *sorted(each.id for each in several))
    return Candidate(one.input or "", text, origin, parents, max(each.at for each in several), subject)


def _target(one: Said) -> str:
    return f"inference {one.inference}" if one.inference else f"input {one.input}"

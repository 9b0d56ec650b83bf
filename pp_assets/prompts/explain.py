"""Why a prompt fails: its failures by field or contract dimension and by what is wrong there, in words, and as instructions against them.

Groups and words come from code; where a writer is there, `Reflection` adds its own explanations. Whether instructions help is for the
search to say, on rows that they were not made from.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pp_assets.evaluation.outputs import OutputReader
from pp_assets.prompts.candidate import Candidate, Ground, Judged, Origin
from pp_assets.prompts.propose.failures import FORM, WHOLE, Failure, failures
from pp_assets.prompts.propose.template import added, literal
from pp_assets.task.spec import TaskSpec
from pp_resources.json_schema import Field, dump_output, get_path, leaf_fields

EXAMPLES = 3  # of a group, that are shown
TELLING = 4  # kinds of failure that one proposal speaks of, at most
LEAST = 2  # failures that make a kind worth an instruction


@dataclass(frozen=True)
class Explained:
    """One kind of failure: `place` is the field, the dimension, "form" or "whole"; `kind` what is wrong in a few words; `count` of `rows`
    rows have it. `words` explain it to a person, `advice` to the model ("" where nothing general can be said)."""

    place: str
    kind: str
    count: int
    rows: int
    words: str
    advice: str
    examples: tuple[Failure, ...]


def explain(spec: TaskSpec, judged: Judged) -> list[Explained]:
    """Every kind of failure of a judged prompt, the most frequent first. A row may stand in several."""
    leaves = {leaf.path: leaf for leaf in leaf_fields(spec.output_schema)}
    reader = OutputReader(spec.output_schema, {path: spec.compare(path) for path in leaves})
    found = []
    for place, group in failures(spec, judged).items():
        kinds: dict[str, list[Failure]] = {}
        for one in group:
            kinds.setdefault(_kind(reader, leaves.get(place), one), []).append(one)
        for kind, several in kinds.items():
            words, advice = _words(spec, leaves.get(place), place, kind)
            told = f"{words} ({len(several)} of {len(judged.rows)} answers)."
            found.append(Explained(place, kind, len(several), len(judged.rows), told, advice, tuple(several[:EXAMPLES])))
    return sorted(found, key=lambda one: (-one.count, one.place, one.kind))


def changed(before: Sequence[Explained], after: Sequence[Explained]) -> list[tuple[str, str, int, int]]:
    """(place, kind, failures before, failures after) on the same rows, the largest change first."""
    counts: list[Mapping[tuple[str, str], int]] = [{(one.place, one.kind): one.count for one in each} for each in (before, after)]
    rows = [(*key, counts[0].get(key, 0), counts[1].get(key, 0)) for key in {**counts[0], **counts[1]}]
    return sorted(rows, key=lambda row: (-abs(row[2] - row[3]), row[:2]))


@dataclass(frozen=True)
class Advised:
    """Proposes instructions against the failures of each parent, without a model: against the most frequent kind, against the next, …, and
    against several at once."""

    source: str = "explained"

    def propose(self, ground: Ground, parents: Sequence[Judged], count: int, seed: int) -> list[Candidate]:  # noqa: ARG002
        found: dict[str, Candidate] = {}
        for parent in parents:
            kinds = [one for one in explain(ground.spec, parent) if one.advice and one.count >= LEAST]
            several = [kinds[:TELLING], kinds[:2]] if len(kinds) > 1 else []
            for told in [*several, *([one] for one in kinds)]:
                made = self._against(ground, parent.candidate, told)
                if made.id != parent.candidate.id:
                    found.setdefault(made.id, made)
        return list(found.values())[:count]

    def _against(self, ground: Ground, parent: Candidate, told: Sequence[Explained]) -> Candidate:
        lines = [f"- {advice}" for advice in dict.fromkeys(one.advice for one in told) if literal(advice) not in parent.wording.template]
        wording = added(ground.spec, parent.wording, literal("\n".join(["Take care:", *lines]))) if lines else parent.wording
        return Candidate.of(ground.spec, wording, Origin(self.source, (parent.id,), " ".join(one.words for one in told)))


def by_place(found: Sequence[Explained]) -> Mapping[str, int]:
    """How many failures each field or dimension has, the most frequent first."""
    counted: Counter[str] = Counter()
    for one in found:
        counted[one.place] += one.count
    return dict(counted.most_common())


def _kind(reader: OutputReader, leaf: Field | None, one: Failure) -> str:
    """What is wrong at a field, or in an answer as a whole."""
    answer = reader.read(one.answered)
    if leaf is None:
        return _whole(answer.json_ok, answer.problem)
    told, said = get_path(one.row.output, leaf.path), get_path(answer.value, leaf.path)
    if leaf.kind in ("enum", "boolean", "const"):
        return f"{_named(told)} is given as {_named(said)}"
    if said is None or said == []:
        return "a value is left out"
    if told is None or told == []:
        return "a value is given where there is none"
    if isinstance(told, list) and isinstance(said, list):
        return "items are missing" if set(map(_named, said)) < set(map(_named, told)) else "there are other items"
    if isinstance(told, str) and isinstance(said, str):
        if told.casefold().split() == said.casefold().split():
            return "spelt in another way"
        if told in said or said in told:
            return "too much is copied" if told in said else "too little is copied"
        return "another part of the text is taken" if said in one.row.input_text else "what is given does not stand in the text"
    return "another value"


def _whole(json_ok: bool, problem: str) -> str:
    if not json_ok:
        return "the answer is not JSON"
    return f"the answer breaks the schema ({problem.partition(':')[0]})" if problem else "all fields are right, the whole is not"


def _words(spec: TaskSpec, leaf: Field | None, place: str, kind: str) -> tuple[str, str]:
    """(for a person, for the model)."""
    if place == FORM:
        keys = ", ".join(dict.fromkeys(one.path.split(".")[0] for one in leaf_fields(spec.output_schema)))
        return f"Form: {kind}", f"Answer with one JSON object with the keys {keys}, and nothing around it."
    if place == WHOLE:
        return f"Whole: {kind}", ""
    if leaf is None:
        return f"Contract, {place}: {kind}", ""
    rule = " ".join(spec.rubric.fields[place].description.split()) if place in spec.rubric.fields else ""
    nothing = "an empty list" if leaf.kind.startswith("array") else "null"
    advice = {
        "a value is left out": "give it whenever the input says it",
        "a value is given where there is none": f"{nothing} when the input does not say it",
        "items are missing": "list every one that the input names",
        "there are other items": "list what the input names, and nothing else",
        "spelt in another way": "copy it letter for letter",
        "too much is copied": "copy the value alone, without the words around it",
        "too little is copied": "copy the whole of it",
        "another part of the text is taken": "",
        "what is given does not stand in the text": "copy it from the input letter for letter" if leaf.verbatim else "",
    }.get(kind, "")
    if leaf.kind in ("enum", "boolean", "const"):
        told, _, said = kind.partition(" is given as ")
        advice = f"do not give {said} where it is {told}" if said != "nothing" else "always give it"
    both = [*([f"{place}: {advice}."] if advice else []), *([f"{place} means: {rule}"] if rule else [])]
    return f"{place}: {kind}", " ".join(both)


def _named(value: Any) -> str:
    return "nothing" if value is None else value if isinstance(value, str) else dump_output({}, value)

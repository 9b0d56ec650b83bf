"""What a candidate gets wrong on the rows it was judged on, by the field or the contract dimension that is wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pp_assets.evaluation.outputs import OutputReader
from pp_assets.prompts.candidate import Judged
from pp_assets.prompts.propose.writing import excerpt
from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec
from pp_resources.json_schema import dump_output, leaf_fields

FORM, WHOLE = "form", "whole"


@dataclass(frozen=True)
class Failure:
    """A row that scored below 1. `dimensions` are those of the contract that it scored below 1 in, with the score."""

    row: Example
    answered: str
    dimensions: Mapping[str, float] = field(default_factory=dict)


def failures(spec: TaskSpec, judged: Judged) -> dict[str, list[Failure]]:
    """Failures by what is wrong, the most frequent first: each field that is wrong; "form" where the answer does not follow the schema and
    no field of it could be compared; where all fields are right, the dimensions below 1, or "whole". A row may stand under several."""
    schema = spec.output_schema
    reader = OutputReader(schema, {leaf.path: spec.compare(leaf.path) for leaf in leaf_fields(schema)})
    found: dict[str, list[Failure]] = {}
    for i, (row, said) in enumerate(zip(judged.rows, judged.answers)):
        if judged.scores[i] >= 1:
            continue
        low = {name: round(float(scores[i]), 3) for name, scores in judged.dimensions.items() if scores[i] < 1}
        answer, right = reader.read(said.text), reader.read(dump_output(schema, row.output))
        wrong = [path for path, key in right.keys.items() if answer.keys.get(path) != key] if answer.value is not None else [FORM]
        for name in wrong or list(low) or [FORM if not answer.valid else WHOLE]:
            found.setdefault(name, []).append(Failure(row, said.text, low))
    return dict(sorted(found.items(), key=lambda pair: (-len(pair[1]), pair[0])))


def told(spec: TaskSpec, one: Failure) -> str:
    """A failure as a writer reads it."""
    low = "".join(f"\nContract: {name} {score:g}" for name, score in one.dimensions.items())
    expected = dump_output(spec.output_schema, one.row.output)
    return f"Input: {excerpt(one.row.input_text)}\nExpected: {expected}\nAnswered: {excerpt(one.answered)}{low}"

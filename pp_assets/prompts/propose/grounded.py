"""The grounded proposer: a model writes from what the data are like, each time with another tip (as MIPRO does, arXiv 2406.11695)."""

from collections.abc import Sequence
from dataclasses import dataclass

from pp_assets.data.labels import label_fields
from pp_assets.data.sources import Row
from pp_assets.data.statistics import describe
from pp_assets.evaluation.stats.groups import generator
from pp_assets.prompts.candidate import Candidate, Ground, Judged
from pp_assets.prompts.propose.writing import Request, shown, written
from pp_resources.json_schema import dump_output

TIPS = (
    "",
    "Be creative.",
    "Keep it clear and short.",
    "Describe the task in detail: what each field means and how to decide unclear cases.",
    "Say what is at stake when an answer is wrong.",
    "Give the model a role that fits the task.",
)
EXAMPLES = 3
VALUES = 12  # of a field, the most frequent


@dataclass(frozen=True)
class Grounded:
    """Rewrites the best parent. What it is told of the data is counted, not written by a model."""

    source: str = "grounded"

    def propose(self, ground: Ground, parents: Sequence[Judged], count: int, seed: int) -> list[Candidate]:
        if ground.model is None or not parents:
            return []
        rng, about = generator(seed, self.source), summary(ground)
        tips = rng.permutation(len(TIPS))
        requests = []
        for i in range(count):
            tip = TIPS[tips[i % len(tips)]]
            rows = [ground.train[j] for j in rng.permutation(len(ground.train))[:EXAMPLES]]
            told = ["# The data", about, *(shown(ground, row) for row in rows), *([f"# Tip\n{tip}"] if tip else [])]
            requests.append(Request(parents[0].candidate, "\n\n".join(told)))
        return written(ground, requests, self.source, seed)


def summary(ground: Ground) -> str:
    """The training rows in a few lines: how many, how long, which labels how often, which fields are often empty."""
    schema = ground.spec.output_schema
    told = describe(Row(row.input_text, dump_output(schema, row.output), "") for row in ground.train)
    if not told["rows"]:
        return "There are no training rows."
    words = told["words"]
    lines = [f"{told['rows']} rows; an input has {words['min']} to {words['max']} words, half of them at most {words['p50']}."]
    for path in label_fields(schema):
        shares = [(value, each["share"]) for value, each in told["fields"].get(path, {}).items()]
        more = f", and {len(shares) - VALUES} others" if len(shares) > VALUES else ""
        lines.append(f"{path}: {', '.join(f'{value} {share:.0%}' for value, share in shares[:VALUES])}{more}.")
    empty = {path: sum(_empty(row.output.get(path)) for row in ground.train) / told["rows"] for path in schema.get("properties", {})}
    lines += [f"{path}: empty in {share:.0%}." for path, share in empty.items() if share]
    return "\n".join(lines)


def _empty(value: object) -> bool:
    return value is None or value == []

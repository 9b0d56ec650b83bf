"""Builder of the stage: new rows from training rows, with what each filter left of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pp_assets.data.generation.asked import Answers, ask
from pp_assets.data.generation.filters import Embed, Judge
from pp_assets.data.generation.methods import MODES
from pp_assets.data.generation.run import Options, generate
from pp_assets.data.leakage import held_out
from pp_assets.data.review import NOBODY, Decided
from pp_assets.data.rows import write_generated
from pp_assets.task.contract.rules import Row
from pp_assets.task.contract.score import score_rows
from pp_assets.task.contract.spec import Contract
from pp_assets.task.examples import Example, read_split
from pp_assets.task.spec import Task

if TYPE_CHECKING:
    from pp_resources.models.remote import Provider

SAMPLES = 12
SHOWN = ("by_method", "yields", "coverage", "diversity", "leaks", "asked", "skipped")


def build_generated(
    task: Task, contract: Contract, dataset: Path, out: Path, *, embed: Embed, decided: Decided = NOBODY, provider: "Provider | None" = None
) -> dict[str, Any]:
    """generated.parquet: new rows with parents, method, params and seed; generation.json and data_card.*: yields, coverage, diversity."""
    from pp_assets.data.generation.card import card, write_card

    train, held, schema = read_split(dataset, "train"), held_out(dataset), task.output_schema
    asked = Answers()
    if provider is not None and task.spec.generation.ask_rows:
        words = f"{task.spec.description} {task.spec.rubric.text}".strip()
        asked = ask(provider, schema, train, task.spec.generation, task.spec.seed, words)
    told: dict[str, Any] = {"asked": asked.rows, "asked_dropped": asked.dropped, "rejected": decided.rejected}
    found = generate(schema, train, held, options_of(task), embed=embed, judge=judge_of(contract), **told)
    rows = decided.generated(schema, found.rows)
    write_generated(out / "generated.parquet", rows)
    document = card(task, train, rows, found, held, embed, asked.facts)
    write_card(document, out)
    parents = {e.item_id: e.input_text for e in train}
    sample = [{"method": g.method, "parent": parents[g.parent][:200], "generated": g.example.input_text[:200]} for g in rows[:SAMPLES]]
    return {"rows": len(rows), **{name: document[name] for name in SHOWN}, "sample": sample}


def judge_of(contract: Contract) -> Judge:
    """Scores of rows by the contract, without a provider: nodes that need one have no say."""

    def judge(rows: Sequence[Example]) -> list[float | None]:
        total = score_rows(contract, [Row(row.input_text, row.output) for row in rows]).total
        return [None if np.isnan(score) else float(score) for score in total]

    return judge


def options_of(task: Task) -> Options:
    """How a task wants rows to be made."""
    spec = task.spec.generation
    methods = tuple(spec.methods if spec.methods is not None else MODES[spec.exploration_mode])
    near, seed = task.spec.eval_split.near_duplicate_threshold, task.spec.seed
    return Options(spec.per_seed, seed, methods, near, spec.similarity_threshold, spec.min_contract_score)

"""What the base is for: a task of a service that it never saw, before and after LoRA with the product's own trainer."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from bench.make_base.dialogues import Dialogues
from pp_assets.evaluation.outputs import right
from pp_assets.task.causal_prompt import prompt_of
from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec, parse_spec
from pp_assets.training.causal import CausalRun
from pp_assets.training.loop import train
from pp_assets.training.recipes import get_recipe
from pp_resources.json_schema import dump_output
from pp_resources.models.causal import CausalPredictor

TRAIN, VAL, TEST = 300, 50, 250  # rows; no dialogue is in two of them
VARIANT = "lora-r8"


def service_scores(base: Path, service: str, dialogues: Dialogues) -> dict[str, Any]:
    """`family_scores` of a held-out service of the dialogues."""
    turns = list(dialogues.held[service])
    names = sorted({dialogue for dialogue, _, _ in turns})
    place = {name: i for i, name in enumerate(Random(service).sample(names, len(names)))}
    turns.sort(key=lambda turn: (place[turn[0]], turn[1]))
    rows = [Example(f"{service}-{i}", text, answer, group=name) for i, (name, text, answer) in enumerate(turns)]
    test, val = rows[:TEST], rows[TEST : TEST + VAL]
    seen = {example.group for example in (*test, *val)}
    return family_scores(service_spec(base, service, list(rows[0].output)), [e for e in rows if e.group not in seen][:TRAIN], val, test)


def service_spec(base: Path, service: str, fields: Sequence[str]) -> TaskSpec:
    asked = f"Extract the following fields: {', '.join(fields)}. Absent values are null.\n\nText:\n"
    return parse_spec(
        {
            "name": service.replace("_", "-"),
            "base_model_id": str(base),
            "system_prompt": "You extract facts from text.",
            "instruction_template": asked + "{{ input_text }}",
            "io_schema": {
                "output": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": list(fields),
                    "properties": {key: {"type": ["string", "null"], "minLength": 1, "x-verbatim": True} for key in fields},
                }
            },
        },
        service,
    )


def family_scores(spec: TaskSpec, train_rows: list[Example], val: list[Example], test: list[Example]) -> dict[str, Any]:
    """Counts on `test` before and after training, decoded freely and bound to the schema."""
    run = CausalRun(spec, get_recipe(VARIANT), train_rows, val, seed=1, threads=1)
    found: dict[str, Any] = {"train": len(train_rows), "val": len(val), "before": _both(run, test)}
    with TemporaryDirectory() as folder:
        found["seconds"] = train(run, Path(folder) / "out", work=Path(folder) / "work")["seconds"]
    return found | {"after": _both(run, test)}


def _both(run: CausalRun, test: Sequence[Example]) -> dict[str, dict[str, int]]:
    """An adapter's start changes nothing: before training, the model is the base."""
    run.model.eval()
    run.predictor.forget_prefix()
    parts = (run.predictor.model, run.tokenizer, run.spec.io_schema.output, prompt_of(run.spec))
    free = CausalPredictor("free", *parts, constrained=False, max_new_tokens=run.predictor.max_new_tokens)
    return {"free": _counts(run, free, test), "constrained": _counts(run, run.predictor, test)}


def _counts(run: CausalRun, predictor: CausalPredictor, test: Sequence[Example]) -> dict[str, int]:
    """`n` rows, how many are `valid` and `exact`; `strings` (values that are strings) and how many of them are `copied`."""
    counts = dict.fromkeys(("n", "valid", "exact", "strings", "copied"), 0)
    for example, said in zip(test, predictor.predict([e.input_text for e in test]), strict=True):
        answer, expected = run.reader.read(said.text), run.reader.read(dump_output(run.spec.io_schema.output, example.output))
        counts["n"] += 1
        counts["valid"] += answer.valid
        counts["exact"] += right(answer, expected)
        for key, value in example.output.items():
            if isinstance(value, str):
                counts["strings"] += 1
                counts["copied"] += (answer.value or {}).get(key) == value
    return counts

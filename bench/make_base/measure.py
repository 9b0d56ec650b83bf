"""What a base can do on tasks that its training never drew: free greedy answers to instructions of many kinds, and services never seen."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from bench.make_base.corpus import Row, example
from bench.make_base.dialogues import Dialogues
from bench.make_base.families import service_scores
from bench.make_base.mix import opened
from bench.make_base.texts import Texts
from pp_resources.models.causal import load_model, load_tokenizer


def base_scores(folder: Path, texts: Texts, dialogues: Dialogues, n: int = 256) -> dict[str, Any]:
    """Counts by set of rows (`held_out_scores`), and by service that no base has seen (`families.service_scores`)."""
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    rows = {name: held_out_scores(model, tokenizer, rows) for name, rows in row_sets(texts, n).items()}
    return {"rows": rows, "services": {name: service_scores(folder, name, dialogues) for name in dialogues.held}}


def row_sets(texts: Texts, n: int) -> dict[str, list[Row]]:
    """`n` rows of each kind that is measured; no training draws them."""
    return {
        "seen_kinds": held_out_rows(n),
        "unseen_kinds": held_out_rows(n, unseen_kinds=True),
        "unseen_nouns": [opened(Random(f"open:{i}"), texts, texts.held_nouns, share=1.0) for i in range(n)],
    }


def held_out_rows(n: int, unseen_kinds: bool = False, seed: str = "held-out") -> list[Row]:
    """Tasks of the first stage, of kinds of values that were seen in training or not."""
    return [example(Random(f"{seed}:{i}"), drill=0.0, held_out=unseen_kinds) for i in range(n)]


@torch.inference_mode()
def held_out_scores(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: Sequence[Row]) -> dict[str, int]:
    """Counts over `rows`: `n`, `valid` JSON objects, `exact` answers, `strings` that stand in the input and how many are `copied`,
    `choices` (other strings) and how many are `chosen` right."""
    counts = dict.fromkeys(("n", "valid", "exact", "strings", "copied", "choices", "chosen"), 0)
    ordered = sorted(rows, key=lambda row: sum(map(len, row[:3])))
    for start in range(0, len(ordered), 32):
        part = ordered[start : start + 32]
        batch = tokenizer([b + t + a for b, t, a, _ in part], return_tensors="pt", padding=True)
        made = model.generate(batch["input_ids"], attention_mask=batch["attention_mask"], max_new_tokens=140, do_sample=False)
        for ids, (_, text, _, answer) in zip(made, part, strict=True):
            said = tokenizer.decode(ids[batch["input_ids"].shape[1] :], skip_special_tokens=True)
            got, expected = _object(said), json.loads(answer)
            counts["n"] += 1
            counts["valid"] += bool(got)
            counts["exact"] += said == answer
            for key, value in expected.items():
                if isinstance(value, str):
                    total, right = ("strings", "copied") if value in text else ("choices", "chosen")
                    counts[total] += 1
                    counts[right] += got.get(key) == value
    return counts


def _object(said: str) -> dict[str, Any]:
    try:
        got = json.loads(said)
    except ValueError:
        return {}
    return got if isinstance(got, dict) else {}

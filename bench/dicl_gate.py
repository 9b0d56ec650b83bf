"""How many wrong demonstrations the gate for examples refuses, and how many right ones: labels of banking77 exchanged at random.

    .venv/bin/python -m bench.dicl_gate DATA [--rows 3000] [--wrong 0.05 --wrong 0.15] [--seed 0]

DATA holds banking77/train.jsonl. Only the rule of neighbours is at work: exchanged labels keep the schema. Rows that the published data has
wrong count as right ones here.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np

from pp_assets.evaluation.stats.intervals import wilson
from pp_assets.prompts.dicl.candidates import Candidate, text_of
from pp_assets.prompts.dicl.gate import Findings, Rules, judge

ENCODER = "sentence-transformers/all-MiniLM-L6-v2"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--wrong", type=float, action="append")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    from pp_resources.models.embedder import Embedder

    schema = json.loads((args.data / "banking77" / "schema.json").read_text("utf-8"))
    lines = (args.data / "banking77" / "train.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in random.Random(args.seed).sample(lines, args.rows)]
    vectors = Embedder.of(ENCODER, 1).embed([row["input_text"] for row in rows])
    result = []
    for share in args.wrong or [0.05, 0.15]:
        caught, lost = measure(schema, rows, vectors, share, args.seed)
        print(f"| {share:.0%} | {told(*caught)} | {told(*lost)} |", flush=True)
        result.append(f"caught_{round(100 * share)}={caught[0] / caught[1]:.4f} lost_{round(100 * share)}={lost[0] / lost[1]:.4f}")
    print("RESULT " + " ".join(result))


def measure(schema: dict, rows: list, vectors: np.ndarray, share: float, seed: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """(wrong ones refused, wrong ones), (right ones refused, right ones), of those that are no duplicates."""
    draw = random.Random(seed)
    labels = sorted({row["output_json"]["intent"] for row in rows})
    wrong = set(draw.sample(range(len(rows)), round(share * len(rows))))
    found = []
    for i, row in enumerate(rows):
        label = row["output_json"]["intent"]
        if i in wrong:
            label = draw.choice([other for other in labels if other != label])
        found.append(Candidate(row["input_text"], text_of(schema, row["output_json"] | {"intent": label}), "demonstration", (str(i),), i))
    reasons = judge(schema, found, vectors, Findings({}), Rules())
    said = [reasons[one.key].startswith("its neighbours") for one in found]
    caught = sum(said[i] for i in wrong)
    return (caught, len(wrong)), (sum(said) - caught, len(rows) - len(wrong))


def told(count: int, of: int) -> str:
    low, high = wilson(count, of)
    return f"{count} of {of}: {count / of:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()

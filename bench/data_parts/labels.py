"""Are wrong labels found? Labels of banking77 and sms_spam are exchanged at random for others, 5 % and 15 % of them.

    .venv/bin/python -m bench.data_parts.labels DATA

The queue (neighbours that disagree) should miss nearly none; cleanlab, which acts by itself, should seldom be wrong. Precision counts the
planted errors alone: labels that were wrong before count against it.
"""

import json
import random
import sys
from pathlib import Path

import numpy as np

from pp_assets.data.labels import FEW_LABELS, SUSPECT, SUSPECT_OF_FEW, agreements, confident_errors
from pp_assets.data.neighbours import near_written
from pp_assets.evaluation.stats.intervals import wilson

ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
SETS = {"banking77": "intent", "sms_spam": "label"}
DECIDING = "banking77"
NOISE = (0.05, 0.15)


def measure(data: Path) -> dict[str, float]:
    """Prints recall and precision of both rules; the least recall of the queue on banking77."""
    from pp_resources.models.bases import find_base
    from pp_resources.models.embedder import Embedder

    embed = Embedder(find_base(ENCODER)).embed
    least = 1.0
    print(f"{'data':12}{'noise':>6}{'rule':>10}{'wrong':>7}{'found':>7}  recall [95 %]          precision [95 %]")
    for name, field in SETS.items():
        rows = [json.loads(line) for line in (data / name / "train.jsonl").read_text("utf-8").splitlines()]
        vectors = embed([row["input_text"] for row in rows])
        nearest = near_written(vectors, [str(i) for i in range(len(rows))], len(rows)).places
        for share in NOISE:
            labels, wrong = with_noise([row["output_json"][field] for row in rows], share)
            limit = SUSPECT if len(set(labels)) > FEW_LABELS else SUSPECT_OF_FEW
            queue = np.flatnonzero(np.array(agreements(labels, nearest)) <= limit)
            recall = told(name, share, "queue", queue, wrong)
            told(name, share, "cleanlab", confident_errors(labels, vectors), wrong)
            least = min(least, recall) if name == DECIDING else least
    return {"label_noise_recall_min": round(least, 4)}


def told(name: str, share: float, rule: str, found: np.ndarray, wrong: set[int]) -> float:
    right = len(wrong & set(found.tolist()))
    low, high = wilson(right, len(wrong))
    said = f"{right / len(wrong):.3f} [{low:.3f}, {high:.3f}]"
    low, high = wilson(right, max(1, len(found)))
    print(f"{name:12}{share:6.2f}{rule:>10}{len(wrong):7}{len(found):7}  {said}   {right / max(1, len(found)):.3f} [{low:.3f}, {high:.3f}]")
    return right / len(wrong)


def with_noise(labels: list[str], share: float) -> tuple[list[str], set[int]]:
    """Labels of which this share is exchanged for another one, and where."""
    rng, names = random.Random(0), sorted(set(labels))
    wrong = set(rng.sample(range(len(labels)), round(share * len(labels))))
    return [rng.choice([n for n in names if n != label]) if i in wrong else label for i, label in enumerate(labels)], wrong


if __name__ == "__main__":
    print("RESULT " + " ".join(f"{key}={value}" for key, value in measure(Path(sys.argv[1])).items()))

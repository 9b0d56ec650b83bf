"""How often do windows of inputs like the known ones raise an alarm, and how often do windows with rows from elsewhere?

    .venv/bin/python -m bench.data_parts.drift DATA

DATA holds banking77 and snips (train.jsonl). A data set is dealt out anew 40 times: 1,000 known rows with topics of their own, and five
windows of 100 others, so 200 windows. For the power 20 rows of a window come from the other data set, or, for a shift of topics, its rows
are drawn from half of the topics three times as often.
"""

import json
import sys
from pathlib import Path

import numpy as np

from pp_assets.data.clusters.fit import fit
from pp_assets.evaluation.stats.intervals import wilson
from pp_assets.feedback.drift import drift, known
from pp_resources.progress import steps

ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
DEALS, WINDOWS, KNOWN, WINDOW, ROWS = 40, 5, 1000, 100, 6000
ALPHA = 0.05


def measure(data: Path) -> dict[str, float]:
    """Prints the share of windows with an alarm by data set and case; the largest share of false alarms, and the least power for 20 % of
    rows from elsewhere."""
    from pp_resources.models.bases import find_base
    from pp_resources.models.embedder import Embedder

    embedder = Embedder(find_base(ENCODER))
    vectors = {}
    for name in ("banking77", "snips"):
        texts = [json.loads(line)["input_text"] for line in (data / name / "train.jsonl").read_text("utf-8").splitlines()]
        chosen = np.sort(np.random.default_rng(0).choice(len(texts), ROWS, replace=False))
        vectors[name] = embedder.embed([texts[i] for i in chosen])
    shares: dict[str, list[float]] = {case: [] for case in CASES}
    print(f"\n{'data':12} {'window':26} {'alarms of 200':20} {'by novelty':>10} {'by topics':>10}")
    for name, other in (("banking77", "snips"), ("snips", "banking77")):
        for case, found in alarms(vectors[name], vectors[other], name).items():
            low, high = wilson(found[:, 0].sum(), len(found))
            share, novel, mix = found.mean(0)
            print(f"{name:12} {CASES[case]:26} {share:.3f} [{low:.3f}, {high:.3f}] {novel:10.3f} {mix:10.3f}", flush=True)
            shares[case].append(float(share))
    return {"drift_false_alarm": max(shares["like"]), "drift_power": min(shares["elsewhere"])}


CASES = {"like": "like the known rows", "elsewhere": "20 of 100 from elsewhere", "topics": "half of the topics x 3"}


def alarms(own: np.ndarray, other: np.ndarray, title: str) -> dict[str, np.ndarray]:
    """By case (windows, 3): an alarm, one by novelty, one by topics (each before the adjustment)."""
    found: dict[str, list[tuple[float, float, float]]] = {case: [] for case in CASES}
    with steps(title, DEALS) as advance:
        for deal in range(DEALS):
            rng = np.random.default_rng(deal)
            dealt = rng.permutation(len(own))
            rows, rest = own[dealt[:KNOWN]], own[dealt[KNOWN:]]
            ids = [str(i) for i in range(KNOWN)]
            like = known(rows, ids, ["" if topic < 0 else str(topic) for topic in fit(rows, ids).labels])
            assert like is not None
            weights = np.where((rest @ like.middles.T).argmax(1) < len(like.topics) / 2, 3.0, 1.0)
            for k in range(WINDOWS):
                plain = rest[k * WINDOW : (k + 1) * WINDOW]
                mixed = np.vstack([plain[20:], other[rng.choice(len(other), 20, replace=False)]])
                moved = rest[rng.choice(len(rest), WINDOW, replace=False, p=weights / weights.sum())]
                for case, window in zip(CASES, (plain, mixed, moved)):
                    one = drift(like, window, ALPHA, seed=deal)
                    found[case].append((one["drift"], one["novel"]["p"] <= ALPHA, (one["mix"]["p"] or 1.0) <= ALPHA))
            advance("")
    return {case: np.array(rows, dtype=float) for case, rows in found.items()}


if __name__ == "__main__":
    measure(Path(sys.argv[1]))

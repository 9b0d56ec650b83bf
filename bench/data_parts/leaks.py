"""Are leaked test items found when they were disturbed, and are other people's questions left alone?

    .venv/bin/python -m bench.data_parts.leaks DATA

DATA holds banking77 (train.jsonl, test.jsonl). Recall: a copy of each test item with typing errors in 5 % of its letters, its words
shuffled, a prefix before it, or words exchanged for synonyms of WordNet (guarded: cosine with the original at least .85) stands among the
training rows; copies that did not change are left out. False flags: test rows as they are against the training rows as they are, where a
flag counts as false when the labels differ, or when a reader of both texts found two items (`leaks_judged.jsonl`; a pair that nobody read
counts as false, too).
"""

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.timing import timed
from pp_assets.data.leakage import Leak, find_leaks
from pp_assets.evaluation.stats.intervals import wilson
from pp_assets.task.duplicates import normalise

ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
ITEMS = 1000
TYPOS = 0.05
PREFIXES = (
    "Hi there, quick question: ",
    "Hello, I hope you can help me. ",
    "Good morning. ",
    "Dear support team, ",
    "Please answer as soon as possible: ",
    "User wrote: ",
    "please help me ",
)
KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
JUDGED = Path(__file__).with_name("leaks_judged.jsonl")
Disturb = Callable[[str, random.Random], str]


def measure(data: Path) -> dict[str, float]:
    """Prints recall by disturbance and false flags; the least recall and the share of false flags."""
    from pp_resources.models.bases import find_base
    from pp_resources.models.embedder import Embedder

    embed = Embedder(find_base(ENCODER)).embed
    train, test = read(data / "banking77" / "train.jsonl"), read(data / "banking77" / "test.jsonl")
    texts, items = [row["input_text"] for row in train], [row["input_text"] for row in test]
    vectors, originals = embed(texts), embed(items)
    chosen = sorted(random.Random(0).sample(range(len(items)), min(ITEMS, len(items))))
    least = 1.0
    print(f"{'disturbance':22}{'n':>6}  recall [95 %]          by 3-grams alone")
    for name, disturb in disturbances().items():
        rng = random.Random(1)
        # Few words have a synonym that passes the guards: all items are tried.
        tried = range(len(items)) if name == "synonyms" else chosen
        copies = [(i, copy) for i in tried if normalise(copy := disturb(items[i], rng)) != normalise(items[i])]
        made = embed([copy for _, copy in copies])
        if name == "synonyms":
            keep = [k for k, (i, _) in enumerate(copies) if float(made[k] @ originals[i]) >= guard()]
            copies, made = [copies[k] for k in keep], made[keep]
        own = [items[i] for i, _ in copies]
        found = caught([copy for _, copy in copies], own, texts, (made, originals[[i for i, _ in copies]], vectors), embed)
        plain = caught([copy for _, copy in copies], own, texts, None, None)
        low, high = wilson(found, len(copies))
        print(f"{name:22}{len(copies):6}  {found / len(copies):.3f} [{low:.3f}, {high:.3f}]   {plain / len(copies):.3f}")
        least = min(least, found / len(copies))
    flags: list[Leak] = []
    took = timed(lambda: flags.extend(find_leaks(items, texts, (originals, vectors), embed)))
    false = sum(not same(test[leak.place], train[leak.other]) for leak in flags)
    low, high = wilson(false, len(items))
    print(f"test rows as they are: {len(flags)} of {len(items)} flagged ({len(flags) / len(items):.3f}), {took.cpu:.0f} CPU seconds;")
    print(f"not the same item: {false} ({false / len(items):.4f} [{low:.4f}, {high:.4f}] of all rows)")
    return {"leak_recall_min": round(least, 4), "leak_false_flag": round(false / len(items), 4)}


def caught(copies: list[str], own: list[str], texts: list[str], vectors, embed) -> int:
    """How many copies, as training rows among the others, are flagged because of their own test items."""
    both = None if vectors is None else (np.vstack([vectors[0], vectors[2]]), vectors[1])
    found = find_leaks([*copies, *texts], own, both, embed)
    return sum(leak.place < len(copies) for leak in found)


def same(a: dict, b: dict) -> bool:
    """Whether a flagged pair is one item: equal labels and texts, or found so by who read it."""
    if a["output_json"] != b["output_json"]:
        return False
    pair = a["input_text"], b["input_text"]
    return normalise(pair[0]) == normalise(pair[1]) or judged().get(pair, False)


def judged() -> dict[tuple[str, str], bool]:
    if not JUDGED.exists():
        return {}
    return {(row["test"], row["train"]): row["same"] for row in read(JUDGED)}


def disturbances() -> dict[str, Disturb]:
    found: dict[str, Disturb] = {"typos 5 %": typos, "word shuffle": shuffled, "prefix": lambda text, rng: rng.choice(PREFIXES) + text}
    try:
        from pp_assets.data.generation.synonyms import load, with_synonyms
    except ImportError:
        print("synonyms are left out: this version has no module for them")
        return found
    net = load()
    return found | {"synonyms": lambda text, rng: with_synonyms(net, text, [False] * len(text), rng)[0]}


def guard() -> float:
    from pp_assets.data.generation.synonyms import LEAST_COSINE

    return LEAST_COSINE


def typos(text: str, rng: random.Random) -> str:
    """Of the letters TYPOS are doubled, dropped, or exchanged for one beside them on the keyboard."""
    made = []
    for letter in text:
        kind = rng.choice(("neighbour", "drop", "double")) if letter.isalpha() and rng.random() < TYPOS else ""
        row = next((keys for keys in KEYS if letter.lower() in keys), "")
        if kind == "neighbour" and row:
            at = row.index(letter.lower())
            letter = rng.choice([row[i] for i in (at - 1, at + 1) if 0 <= i < len(row)])
        made.append("" if kind == "drop" else letter * 2 if kind == "double" else letter)
    return "".join(made)


def shuffled(text: str, rng: random.Random) -> str:
    words = text.split()
    rng.shuffle(words)
    return " ".join(words)


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


if __name__ == "__main__":
    print("RESULT " + " ".join(f"{key}={value}" for key, value in measure(Path(sys.argv[1])).items()))

"""What is in some rows: lengths, label shares, duplicates, tokens; and what changed between two sets of rows. Read one row at a time."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pp_assets.data.sources import Row, Source
from pp_assets.task.duplicates import normalise
from pp_assets.task.scan import hash64

MOST_VALUES = 100  # a field with more different values is no label
SHOWN = 20
TOKENISED = 1000  # texts at a time
Count = Callable[[Sequence[str]], list[int]]


def describe(rows: Iterable[Row], tokens: Count | None = None) -> dict[str, Any]:
    """Plain values: rows, by split, quantiles of characters and words (and tokens), duplicates, shares of the labels of every field.

    `tokens` counts the tokens of texts; without it they are None.
    """
    splits: Counter[str] = Counter()
    chars, words, lengths = list[int](), list[int](), list[int]()
    inputs: Counter[int] = Counter()
    items: Counter[int] = Counter()
    fields: dict[str, Counter[str]] = {}
    waiting: list[str] = []
    for row in rows:
        splits[row.split or "all"] += 1
        chars.append(len(row.input_text))
        words.append(len(row.input_text.split()))
        text = normalise(row.input_text)
        inputs[hash64(text)] += 1
        items[hash64(f"{text}\n{row.output}")] += 1
        for path, value in leaves(orjson.loads(row.output)):
            counts = fields.setdefault(path, Counter())
            if len(counts) <= MOST_VALUES or value in counts:
                counts[value] += 1
        if tokens is not None:
            waiting.append(row.input_text)
            if len(waiting) == TOKENISED:
                lengths += tokens(waiting)
                waiting = []
    if tokens is not None and waiting:
        lengths += tokens(waiting)
    n = len(chars)
    return {
        "rows": n,
        "by_split": dict(splits),
        "chars": quantiles(chars),
        "words": quantiles(words),
        "tokens": quantiles(lengths) if tokens is not None else None,
        "duplicates": {"same_input": n - len(inputs), "same_input_and_output": n - len(items), "contradictions": len(items) - len(inputs)},
        "fields": {path: shares(counts, n) for path, counts in sorted(fields.items()) if len(counts) <= MOST_VALUES},
    }


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(dotted path, value as text) of every scalar; of lists each member under the list's path."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, path)
    else:
        yield path, value if isinstance(value, str) else orjson.dumps(value).decode()


def shares(counts: Mapping[str, int], rows: int) -> dict[str, dict[str, float]]:
    """n and share of the rows of each value, most frequent first."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return {name: {"n": n, "share": round(n / max(1, rows), 4)} for name, n in ordered}


def quantiles(values: Sequence[int]) -> dict[str, float] | None:
    """min, p50, mean, p95, max; None of nothing."""
    if not values:
        return None
    found = np.asarray(values)
    p50, p95 = np.quantile(found, [0.5, 0.95], method="inverted_cdf").tolist()
    return {"min": int(found.min()), "p50": p50, "mean": round(float(found.mean()), 2), "p95": p95, "max": int(found.max())}


def diff(a: Source, b: Source) -> dict[str, Any]:
    """What `b` has that `a` has not, and the other way round: rows added and removed by their input, inputs whose output changed, rows that
    moved between splits, and by how much the share of each label changed. Test rows are counted and not shown."""
    old, new = _index(a), _index(b)
    added, removed = new.keys() - old.keys(), old.keys() - new.keys()
    both = old.keys() & new.keys()
    changed = {key for key in both if old[key][0] != new[key][0]}
    moved = {key for key in both if old[key][1] and new[key][1] and old[key][1] != new[key][1]}
    moves = Counter(f"{'+'.join(sorted(old[key][1]))} -> {'+'.join(sorted(new[key][1]))}" for key in moved)
    left, right = describe(a.rows()), describe(b.rows())
    return {
        "a": a.name,
        "b": b.name,
        "rows": {"a": left["rows"], "b": right["rows"]},
        "same": not (added or removed or changed or moved) and left["rows"] == right["rows"],
        "added": {"inputs": len(added), "first": _texts(b, added)},
        "removed": {"inputs": len(removed), "first": _texts(a, removed)},
        "changed_output": {"inputs": len(changed), "first": _texts(b, changed)},
        "moved_split": {"inputs": len(moved), "by_move": dict(sorted(moves.items()))},
        "label_shifts": _shifts(left["fields"], right["fields"]),
    }


def token_counter(folder: Path) -> Count:
    """Counts tokens as the model in `folder` reads them."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return lambda texts: [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]


def draw(path: Path, told: Mapping[str, Any]) -> None:
    """Bars of the labels of the first fields, for the metadata of an asset."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fields = [(name, values) for name, values in told["fields"].items() if len(values) > 1][:4]
    figure = Figure(figsize=(8, 1 + 2 * max(1, len(fields))), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    for place, (name, values) in enumerate(fields, 1):
        axes = figure.add_subplot(len(fields), 1, place)
        shown = list(values.items())[:SHOWN]
        axes.bar([label.replace("$", r"\$")[:24] for label, _ in shown], [value["n"] for _, value in shown])
        axes.set_title(f"{name} ({len(values)} values)".replace("$", r"\$"), fontsize=9)
        axes.tick_params(axis="x", labelrotation=30, labelsize=7)
    figure.savefig(path, metadata={"Software": None})


def _index(source: Source) -> dict[int, tuple[frozenset[int], frozenset[str]]]:
    """By hash of the normalised input: hashes of its outputs, and its splits. About 500 bytes an input."""
    outputs: dict[int, frozenset[int]] = {}
    splits: dict[int, frozenset[str]] = {}
    kept: dict[tuple[int, ...] | str, frozenset[Any]] = {"": frozenset()}
    for row in source.rows():
        key, output = hash64(normalise(row.input_text)), hash64(row.output)
        outputs[key] = outputs.get(key, frozenset()) | {output}
        where = kept.setdefault(row.split, frozenset({row.split}))
        splits[key] = splits[key] | where if key in splits else where
    return {key: (outputs[key], splits[key]) for key in outputs}


def _texts(source: Source, wanted: set[int]) -> list[str]:
    """The first few inputs among the wanted, in the order of the source; none of a test split."""
    found: list[str] = []
    if wanted:
        for row in source.rows():
            if row.split != "test" and hash64(normalise(row.input_text)) in wanted:
                found.append(row.input_text[:200])
                if len(found) == SHOWN:
                    break
    return found


def _shifts(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Labels whose share changed, largest change first."""
    rows: list[dict[str, Any]] = []
    for path in sorted(a.keys() | b.keys()):
        for value in sorted(a.get(path, {}).keys() | b.get(path, {}).keys()):
            before, after = (side.get(path, {}).get(value, {"n": 0, "share": 0.0}) for side in (a, b))
            change = round(after["share"] - before["share"], 4)
            if change:
                rows.append({"field": path, "value": value, "a": before["share"], "b": after["share"], "change": change})
    return sorted(rows, key=lambda row: (-abs(row["change"]), row["field"], row["value"]))[:SHOWN]

"""New training rows from old ones, without a language model: values that stand in the input change places, and noise as people make it.

A row is made only where its output stays true: a value is exchanged for one of the same field from a row that agrees in every other field
(a currency that goes with an amount stays right), and only when it stands exactly once in the input. Each row names its parent, method,
parameters and seed. Parents are training rows; what comes close to a held-out row is dropped.
"""

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from pp_assets.data.leakage import HeldOut, nearest_similarity
from pp_assets.data.noise import KINDS, spans_of
from pp_assets.task.duplicates import normalise
from pp_assets.task.examples import Example
from pp_assets.task.reader import item_id
from pp_resources.json_schema import Field, Schema, canonical_output, get_path, leaf_fields, not_verbatim, output_validator, set_path

MIN_VALUES = 5  # so many values must all stand in their inputs before an unmarked field is taken for a verbatim one


@dataclass(frozen=True)
class Generated:
    """A made row and where it comes from. `params` and `seed` are enough to make it again from its parent."""

    example: Example
    parent: str
    method: str
    params: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class Outcome:
    """Kept rows in order of their parents, and how many were dropped for which reason."""

    rows: list[Generated]
    dropped: dict[str, int]


def generate(schema: Schema, train: Sequence[Example], held: HeldOut, *, per_seed: int, seed: int, threshold: float) -> Outcome:
    """`per_seed` attempts for each training row; near-duplicates of held-out rows and repetitions are dropped and counted."""
    slots = Slots(schema, train)
    made: list[Generated] = []
    dropped: Counter[str] = Counter()
    seen = {normalise(e.input_text) for e in train}
    for parent in train:
        for k in range(per_seed):
            row = _one(slots, schema, parent, _seed(seed, parent.item_id, k), k)
            if row is None:
                dropped["nothing to vary"] += 1
            elif normalise(row.example.input_text) in seen:
                dropped["repetition"] += 1
            else:
                seen.add(normalise(row.example.input_text))
                made.append(row)
    near = nearest_similarity([g.example.input_text for g in made], held.texts, threshold)
    dropped["close to a held-out row"] += sum(similarity > 0 for similarity in near)
    return Outcome([g for g, similarity in zip(made, near) if not similarity], {k: v for k, v in sorted(dropped.items()) if v})


class Slots:
    """The values that stand in inputs, by field and by what the rest of the output says."""

    def __init__(self, schema: Schema, rows: Sequence[Example]) -> None:
        self.fields = [f for f in leaf_fields(schema) if f.kind in ("string", "array_string") and _stands_in_input(f, rows)]
        self._pools: dict[tuple[str, str], set[str]] = {}
        for row in rows:
            for leaf in self.fields:
                self._pools.setdefault((leaf.path, self._rest(row.output)), set()).update(values_of(row.output, leaf.path))

    def values(self, row: Example) -> list[tuple[Field, str]]:
        """(field, value) of everything in this row that stands in its input."""
        return [(leaf, value) for leaf in self.fields for value in values_of(row.output, leaf.path)]

    def donors(self, row: Example, leaf: Field) -> list[str]:
        """Values of the same field from rows that agree in all that is not verbatim."""
        return sorted(self._pools.get((leaf.path, self._rest(row.output)), ()))

    def _rest(self, output: Mapping[str, Any]) -> str:
        verbatim = {f.path for f in self.fields}
        return json.dumps(_flat(output, "", verbatim), sort_keys=True)


def values_of(output: Mapping[str, Any], path: str) -> list[str]:
    """Strings at a path: the one, those of an array, or none."""
    found = get_path(output, path)
    return [v for v in (found if isinstance(found, list) else [found]) if isinstance(v, str) and v]


def _one(slots: Slots, schema: Schema, parent: Example, seed: int, k: int) -> Generated | None:
    rng = random.Random(seed)
    # Attempts take turns, so that a row with slots yields both kinds.
    row = _recombined(slots, schema, parent, rng, seed) if k % 2 == 0 else None
    return row or _noisy(slots, schema, parent, rng, seed)


def _recombined(slots: Slots, schema: Schema, parent: Example, rng: random.Random, seed: int) -> Generated | None:
    text, output, changes = parent.input_text, json.loads(json.dumps(parent.output)), []
    for leaf, value in slots.values(parent):
        others = [v for _, v in slots.values(parent) if v != value]
        free = [
            d
            for d in slots.donors(parent, leaf)
            if d != value and _independent(d, [*others, value]) and d.casefold() not in text.casefold()
        ]
        place = re.compile(rf"(?<!\w){re.escape(value)}(?!\w)")
        if not free or text.count(value) != 1 or len(place.findall(text)) != 1 or not _independent(value, others):
            continue
        new = rng.choice(free)
        text = place.sub(new.replace("\\", r"\\"), text)
        found = get_path(output, leaf.path)
        set_path(output, leaf.path, [new if v == value else v for v in found] if isinstance(found, list) else new)
        changes.append({"field": leaf.path, "from": value, "to": new})
    return _row(schema, parent, text, output, "recombination", {"changes": changes}, seed) if changes else None


def _noisy(slots: Slots, schema: Schema, parent: Example, rng: random.Random, seed: int) -> Generated | None:
    kind = rng.choice(sorted(KINDS))
    keep = spans_of(parent.input_text, [value for _, value in slots.values(parent)])
    text = KINDS[kind](parent.input_text, keep, rng)
    return _row(schema, parent, text, parent.output, "noise", {"kind": kind}, seed) if text != parent.input_text else None


def _row(schema: Schema, parent: Example, text: str, output: Any, method: str, params: dict[str, Any], seed: int) -> Generated | None:
    made = canonical_output(schema, output)
    if not output_validator(schema).is_valid(made) or not_verbatim(schema, made, text):
        return None
    name = item_id(text, orjson.dumps(made, option=orjson.OPT_SORT_KEYS))
    example = Example(name, text, made, parent.source_id, parent.group, {"parent": parent.item_id, "method": method})
    return Generated(example, parent.item_id, method, params, seed)


def _stands_in_input(leaf: Field, rows: Sequence[Example]) -> bool:
    if leaf.verbatim:
        return True
    pairs = [(value, row.input_text) for row in rows for value in values_of(row.output, leaf.path)]
    return len(pairs) >= MIN_VALUES and all(value in text for value, text in pairs)


def _independent(value: str, others: Sequence[str]) -> bool:
    return all(value not in other and other not in value for other in others)


def _flat(value: Any, path: str, leave_out: set[str]) -> Any:
    """The output with verbatim values replaced by how many there are."""
    if path in leave_out:
        return len(value) if isinstance(value, list) else int(value is not None)
    if isinstance(value, Mapping):
        return {k: _flat(v, f"{path}.{k}" if path else k, leave_out) for k, v in value.items()}
    return value


def _seed(seed: int, parent: str, k: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{parent}:{k}".encode()).digest()[:6], "big")

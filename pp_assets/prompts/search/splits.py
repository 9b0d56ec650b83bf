"""Which rows proposals are made from, and which they are chosen by, in an order of which any beginning stands for the whole."""

import random
from collections.abc import Sequence

from pp_assets.data.labels import label_fields
from pp_assets.prompts.search.strategy import Rows
from pp_assets.task.examples import Example
from pp_resources.fingerprint import canonical_json
from pp_resources.json_schema import Schema, get_path

WANTED = 100  # rows to choose by: with fewer the best of several candidates is mostly luck
KEPT = 0.5  # share of the training rows that proposals keep whatever the validation split lacks


def search_rows(schema: Schema, train: Sequence[Example], val: Sequence[Example], seed: int) -> Rows:
    """Rows of a search. Where the validation split is smaller than WANTED, whole groups of training rows are held aside for it."""
    order = balanced(schema, train, seed)
    groups = list(dict.fromkeys(_group(row) for row in order))
    known = {_group(row) for row in val}
    aside: set[str] = set()
    need, room = WANTED - len(val), int(len(train) * (1 - KEPT))
    sizes = dict.fromkeys(groups, 0)
    for row in order:
        sizes[_group(row)] += 1
    for group in reversed(groups):
        if need <= 0:
            break
        if sizes[group] <= room and group not in known:
            aside.add(group)
            need, room = need - sizes[group], room - sizes[group]
    held = [row for row in order if _group(row) in aside]
    return Rows([row for row in order if _group(row) not in aside], balanced(schema, [*val, *held], seed))


def balanced(schema: Schema, rows: Sequence[Example], seed: int) -> list[Example]:
    """All rows in an order drawn by `seed` in which every beginning has about the shares of labels that all rows have; rows of one group
    stand together. The order of `rows` does not matter."""
    groups: dict[str, list[Example]] = {}
    for row in sorted(rows, key=lambda row: row.item_id):
        groups.setdefault(_group(row), []).append(row)
    paths = label_fields(schema)[:1]
    strata: dict[str, list[str]] = {}
    for name, members in groups.items():
        strata.setdefault(canonical_json([get_path(members[0].output, path) for path in paths]), []).append(name)
    rng, placed = random.Random(seed), list[tuple[float, float, str]]()
    for _, names in sorted(strata.items()):
        rng.shuffle(names)
        placed += [((place + 0.5) / len(names), rng.random(), name) for place, name in enumerate(names)]
    return [row for _, _, name in sorted(placed) for row in groups[name]]


def _group(row: Example) -> str:
    return row.group or row.item_id

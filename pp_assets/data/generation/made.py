"""A generated row and its pedigree."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from pp_assets.task.examples import Example
from pp_assets.task.reader import item_id
from pp_resources.json_schema import Schema, canonical_output


@dataclass(frozen=True)
class Generated:
    """A made row and where it comes from. `parents` are item ids, the first is the row that was changed; with `method`, `params` (the
    generator among them) and `seed` it can be made again."""

    example: Example
    parents: tuple[str, ...]
    method: str
    params: Mapping[str, Any]
    seed: int

    @property
    def parent(self) -> str:
        return self.parents[0]


@dataclass(frozen=True)
class Draft:
    """What a method makes of a parent: text, output, other rows that gave something, and what was done."""

    text: str
    output: dict[str, Any]
    donors: tuple[str, ...]
    params: Mapping[str, Any]


def as_row(schema: Schema, parent: Example, draft: Draft, method: str, seed: int) -> Generated:
    """The row of a draft. It stays in its parent's group, so that it stays on its side of every split."""
    output = canonical_output(schema, draft.output)
    name = item_id(draft.text, orjson.dumps(output, option=orjson.OPT_SORT_KEYS))
    parents = tuple(dict.fromkeys((parent.item_id, *draft.donors)))
    meta = {"parent": parent.item_id, "method": method}
    return Generated(Example(name, draft.text, output, parent.source_id, parent.group, meta), parents, method, draft.params, seed)


def seed_of(seed: int, *labels: object) -> int:
    """A seed of 48 bits for what these labels name."""
    return int.from_bytes(hashlib.sha256(":".join(map(str, (seed, *labels))).encode()).digest()[:6], "big")

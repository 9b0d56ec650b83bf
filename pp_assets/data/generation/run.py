"""New training rows from old ones: attempts by cell of the coverage grid, the emptiest first, then the filters with what each leaves."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pp_assets.data.generation import synonyms
from pp_assets.data.generation.filters import Embed, Filters, Judge, Yields, balanced
from pp_assets.data.generation.grid import NOTHING, Cell, Grid
from pp_assets.data.generation.made import Generated, as_row, seed_of
from pp_assets.data.generation.methods import OFFLINE, Source
from pp_assets.data.leakage import HeldOut
from pp_assets.task.examples import Example
from pp_resources.json_schema import Schema
from pp_resources.progress import steps

MOST = 4  # times `per_seed`: attempts with one parent, however empty its cell is


@dataclass(frozen=True)
class Options:
    """How rows are made. `near`, `cosine`: see `Filters`. Methods take turns over the attempts of a row."""

    per_seed: int = 1
    seed: int = 0
    methods: tuple[str, ...] = tuple(OFFLINE)
    near: float = 0.8
    cosine: float = 0.98
    least_score: float = 0.5


@dataclass(frozen=True)
class Outcome:
    """Kept rows, the yield of each stage, methods that could not be used with the reason, and the coverage grid."""

    rows: list[Generated]
    yields: list[dict[str, Any]]
    skipped: Mapping[str, str]
    grid: Mapping[str, Any]
    cells: Mapping[str, Cell] = field(default_factory=dict)


def generate(
    schema: Schema,
    train: Sequence[Example],
    held: HeldOut,
    options: Options,
    *,
    embed: Embed | None = None,
    judge: Judge | None = None,
    asked: Sequence[Generated] = (),
    asked_dropped: Mapping[str, int] | None = None,
    rejected: frozenset[str] = frozenset(),
) -> Outcome:
    """Rows made offline, `per_seed` attempts for each training row on average, and those that a provider was `asked` for, filtered alike.

    `rejected`: ids of rows that a reviewer does not want to see again. Equal arguments give equal rows, in any order of `train`.
    """
    source = Source(schema, train)
    grid, yields = Grid(source), Yields()
    skipped = {name: reason for name, reason in {"synonyms": synonyms.unavailable()}.items() if reason and name in options.methods}
    usable = [name for name in options.methods if name in OFFLINE and name not in skipped]
    total = options.per_seed * len(train)
    made, failed = _attempts(source, grid, options, usable, total) if usable else ([], Counter())
    yields.add("made", len(made) + len(asked) + sum((asked_dropped or {}).values()), failed)
    made += asked
    yields.add("parsed", len(made), asked_dropped or {})
    filters = Filters(source, schema, held, options.near, options.cosine, embed, judge, options.least_score)
    rows = filters.passed(made, yields)
    if rejected:
        rows = yields.keep("review", rows, ["rejected by a reviewer" if g.example.item_id in rejected else "" for g in rows])
    cells = cells_of(grid, rows)
    rows = balanced(grid, rows, cells, total + len(asked), yields)
    counts = Counter(cells[g.example.item_id] for g in rows)
    return Outcome(rows, yields.stages, skipped, grid.table(counts), {g.example.item_id: cells[g.example.item_id] for g in rows})


def cells_of(grid: Grid, rows: Sequence[Generated]) -> dict[str, Cell]:
    """The cell of each row by its id."""
    parents = {row.item_id: row for row in grid.slots.rows}
    return {g.example.item_id: grid.cell(g.example, parents.get(g.parent), against_of(g)) for g in rows}


def against_of(row: Generated) -> str:
    """The field, or dimension, that a row was made to be hard for."""
    if row.method == "flipped_cue":
        return str(row.params["field"])
    if row.method == "numbers":
        return str(row.params["changes"][0]["field"])
    return str(row.params.get("against", NOTHING))


def _attempts(source: Source, grid: Grid, options: Options, methods: Sequence[str], total: int) -> tuple[list[Generated], Counter[str]]:
    parents: dict[Cell, list[Example]] = {}
    for row in source.rows:
        parents.setdefault(grid.cell(row), []).append(row)
    made: list[Generated] = []
    failed: Counter[str] = Counter()
    with steps("generation", total) as advance:
        for cell, wanted in grid.attempts(total).items():
            rows = parents[cell]
            for k in range(min(wanted, MOST * options.per_seed * len(rows))):
                parent = rows[k % len(rows)]
                found = _one(source, parent, options.seed, k // len(rows), methods)
                made += [found] if found else []
                failed["nothing to vary"] += found is None
                advance("")
    return made, failed


def _one(source: Source, parent: Example, seed: int, k: int, methods: Sequence[str]) -> Generated | None:
    """The first method that can make something of the parent, in an order drawn for it."""
    order = random.Random(seed_of(seed, parent.item_id)).sample(methods, len(methods))
    for j in range(len(order)):
        name = order[(k + j) % len(order)]
        own = seed_of(seed, parent.item_id, k, name)
        draft = OFFLINE[name](source, parent, random.Random(own))
        if draft:
            return as_row(source.schema, parent, draft, name, own)
    return None

"""The filters that generated rows pass, one after the other, with what each leaves and why it drops the others."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pp_assets.data.generation.grid import Cell, Grid, outputs_of
from pp_assets.data.generation.made import Generated
from pp_assets.data.generation.methods import SURFACE
from pp_assets.data.generation.slots import Slots
from pp_assets.data.generation.synonyms import LEAST_COSINE
from pp_assets.data.leakage import HeldOut, nearest_similarity
from pp_assets.evaluation.suite.spans import copied
from pp_assets.task.duplicates import BandHasher, jaccard, normalise, shingles
from pp_assets.task.examples import Example
from pp_resources.json_schema import Schema, output_validator

WITHIN = 0.9  # Jaccard similarity of 5-grams from which rows with the same output say the same
HELD_COSINE = 0.95  # of a row and a held-out one; between written rows of one data set 14 % have a neighbour that near
BLOCK = 2048
Embed = Callable[[Sequence[str]], np.ndarray]
Judge = Callable[[Sequence[Example]], Sequence[float | None]]
"""Scores of rows by the task's contract, None where it has no opinion."""


@dataclass
class Yields:
    """What came in and what each stage left. `notes` say why a stage was not made."""

    stages: list[dict[str, Any]] = field(default_factory=list)

    def add(self, stage: str, left: int, dropped: Mapping[str, int], note: str = "") -> None:
        self.stages.append({"stage": stage, "left": left, "dropped": {k: v for k, v in sorted(dropped.items()) if v}, "note": note})

    def keep(self, stage: str, rows: Sequence[Generated], reasons: Sequence[str], note: str = "") -> list[Generated]:
        """The rows without a reason to drop them."""
        left = [row for row, reason in zip(rows, reasons, strict=True) if not reason]
        self.add(stage, len(left), Counter(filter(None, reasons)), note)
        return left


@dataclass(frozen=True)
class Filters:
    """What rows are held against. `near` is the similarity of 5-grams to held-out rows, `cosine` that of rows that say the same."""

    slots: Slots
    schema: Schema
    held: HeldOut
    near: float
    cosine: float
    embed: Embed | None = None
    judge: Judge | None = None
    least_score: float = 0.0

    def passed(self, rows: list[Generated], yields: Yields) -> list[Generated]:
        """The rows that pass all of them, in order."""
        validator = output_validator(self.schema)
        rows = yields.keep("schema", rows, ["" if validator.is_valid(g.example.output) else "against the schema" for g in rows])
        rows = yields.keep("consistent", rows, [self._inconsistent(g.example) for g in rows])
        rows = yields.keep("exact duplicates", rows, self._exact(rows))
        rows = yields.keep("near duplicates", rows, self._near(rows))
        near = nearest_similarity([g.example.input_text for g in rows], self.held.texts, self.near)
        rows = yields.keep("held-out rows", rows, ["close to a held-out row" if s else "" for s in near])
        rows = self._semantic(rows, yields)
        return self._judged(rows, yields)

    def _inconsistent(self, row: Example) -> str:
        lost = [value for value in copied(self.slots.schema, row.output) if value not in row.input_text]
        return "a copied value is not in the text" if lost else ""

    def _exact(self, rows: Sequence[Generated]) -> list[str]:
        # Letter case is what some rows differ from their parents in, and all that they do.
        seen = {text for row in self.slots.rows for text in (row.input_text, normalise(row.input_text))}
        seen |= {normalise(text) for text in self.held.texts}
        reasons = []
        for g in rows:
            text = g.example.input_text if g.method in SURFACE else normalise(g.example.input_text)
            reasons.append("said before" if text in seen else "")
            seen |= {text, g.example.input_text}
        return reasons

    def _near(self, rows: Sequence[Generated]) -> list[str]:
        """Among rows of the same output and kind: surface rows among themselves, others also with training rows."""
        written = [(row.input_text, out, False) for row, out in zip(self.slots.rows, outputs_of(self.slots, self.slots.rows))]
        outs = outputs_of(self.slots, [g.example for g in rows])
        every = [*written, *((g.example.input_text, out, g.method in SURFACE) for g, out in zip(rows, outs))]
        texts = [normalise(text) for text, _, _ in every]
        if not rows:
            return []
        keys, bands = BandHasher(WITHIN).keys(texts).tolist(), dict[tuple[int, int, str, bool], list[int]]()
        reasons = []
        for i, ((raw, out, surface), row_keys) in enumerate(zip(every, keys)):
            places = [(band, key, out, surface) for band, key in enumerate(row_keys)]
            found = {j for place in places for j in bands.get(place, ())}
            mine = shingles(texts[i])
            # Two rows in other letter case are no duplicates.
            twin = any(jaccard(mine, shingles(texts[j])) >= WITHIN and (not surface or _same_case(raw, every[j][0])) for j in found)
            if i >= len(written):
                reasons.append("nearly said before" if twin else "")
            if not twin:
                for place in places:
                    bands.setdefault(place, []).append(i)
        return reasons

    def _semantic(self, rows: list[Generated], yields: Yields) -> list[Generated]:
        if self.embed is None:
            yields.add("semantic duplicates", len(rows), {}, "not made: no encoder was given")
            return rows
        judged = [i for i, g in enumerate(rows) if g.method not in SURFACE or g.method == "synonyms"]
        if not judged:
            yields.add("semantic duplicates", len(rows), {}, "no row to judge: all differ from their parents in letters alone")
            return rows
        written = self.slots.rows
        vectors = self.embed([*(r.input_text for r in written), *(rows[i].example.input_text for i in judged), *self.held.texts])
        own, made, held = np.split(vectors, [len(written), len(written) + len(judged)])
        place = {row.item_id: k for k, row in enumerate(written)}
        reasons = [""] * len(rows)
        same = _said_before(
            own, made, outputs_of(self.slots, written), outputs_of(self.slots, [rows[i].example for i in judged]), self.cosine
        )
        for k, i in enumerate(judged):
            g = rows[i]
            if g.method == "synonyms" and g.parent in place and float(own[place[g.parent]] @ made[k]) < LEAST_COSINE:
                reasons[i] = "means something else than its parent"
            elif g.method not in SURFACE and same[k]:
                reasons[i] = "says the same as another row"
        for start in range(0, len(judged), BLOCK):
            block = made[start : start + BLOCK]
            nearest = (block @ held.T).max(1) if len(held) else np.zeros(len(block))
            for k in np.flatnonzero(nearest >= HELD_COSINE).tolist():
                reasons[judged[start + k]] = reasons[judged[start + k]] or "means the same as a held-out row"
        return yields.keep("semantic duplicates", rows, reasons)

    def _judged(self, rows: list[Generated], yields: Yields) -> list[Generated]:
        if self.judge is None:
            yields.add("contract score", len(rows), {}, "not made: the task has no contract")
            return rows
        scores = self.judge([g.example for g in rows])
        low = [score is not None and score < self.least_score for score in scores]
        return yields.keep("contract score", rows, [f"score below {self.least_score}" if x else "" for x in low])


def balanced(grid: Grid, rows: list[Generated], cells: Mapping[str, Cell], total: int, yields: Yields) -> list[Generated]:
    """No cell with more than twice its share of the attempts (`Grid.attempts`), the first ones kept."""
    share = {cell: 2 * n for cell, n in grid.attempts(total).items()}
    usual = max(1, total // max(1, len(grid.counts)))
    counts: Counter[Cell] = Counter()
    reasons = []
    for g in rows:
        cell = cells[g.example.item_id]
        counts[cell] += 1
        reasons.append("its cell is full" if counts[cell] > max(2, share.get(cell, 2 * usual)) else "")
    return yields.keep("balance by cell", rows, reasons)


def _said_before(own: np.ndarray, made: np.ndarray, outs: Sequence[str], made_outs: Sequence[str], least: float) -> list[bool]:
    """For each made row whether a written one, or one that was made and kept before, has the same output and this cosine."""
    by_output: dict[str, list[np.ndarray]] = {}
    for out, vector in zip(outs, own):
        by_output.setdefault(out, []).append(vector)
    found = []
    for out, vector in zip(made_outs, made):
        known = by_output.setdefault(out, [])
        found.append(bool(known) and float((np.stack(known) @ vector).max()) >= least)
        if not found[-1]:
            known.append(vector)
    return found


def _same_case(a: str, b: str) -> bool:
    shares = [sum(c.isupper() for c in text) / max(1, sum(c.isalpha() for c in text)) for text in (a, b)]
    return abs(shares[0] - shares[1]) < 0.1 and a[:1].isupper() == b[:1].isupper()

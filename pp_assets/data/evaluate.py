"""Is this row worth learning from? A score from several checks, a decision and its reason, for written and for generated rows.

A row is dropped when a hard check fails (unreadable, against the schema, said before, held out) or when it breaks a threshold of the task.
By default only generated rows have one: disagreement with its neighbours marks the hard cases that a model needs, so for a written row it
lowers the score and nothing else.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pp_assets.data.neighbours import Near, codes_of
from pp_assets.task.duplicates import normalise
from pp_assets.task.examples import Example
from pp_assets.task.spec import Inputs, Threshold
from pp_resources.json_schema import Schema, dump_output, get_path, leaf_fields, output_validator

NEIGHBOURS = 5
LETTERS = 0.5  # at least this share of the characters of a text are letters, digits or spaces
MEASURED = ("contract", "novelty", "difficulty")


@dataclass(frozen=True)
class Evaluated:
    """One row's verdict. `checks` holds each check's value in 0..1; `score` is their mean, 0 when a hard check failed, and `filter_score`
    what is missing to 1: 1 is to be filtered out. `contract` (its output by the task's contract), `novelty` (share of the written rows that
    lie nearer to the others) and `difficulty` (how much classifiers disagree on it) are in 0..1, None where there is no way to tell."""

    item_id: str
    kind: Literal["written", "generated"]
    keep: bool
    score: float
    filter_score: float
    contract: float | None
    novelty: float | None
    difficulty: float | None
    reason: str
    checks: Mapping[str, float]


def evaluate_inputs(
    schema: Schema,
    written: Sequence[Example],
    generated: Sequence[Example],
    near: Near,
    *,
    leaking: Container[int] = frozenset(),
    measured: Mapping[str, np.ndarray] | None = None,
    limits: Inputs | None = None,
) -> list[Evaluated]:
    """Verdicts for the written rows, then the generated ones. `near` are the written rows nearest to each, `leaking` the places of rows
    that may not be learnt from because they are held-out items, `measured` by name of MEASURED a value for each row (rows,), nan for none,
    and `limits` the task's thresholds."""
    rows, limits = [*written, *generated], limits or Inputs()
    lengths = np.array([len(e.input_text) for e in written] or [1])
    shortest, longest = np.quantile(lengths, 0.01) / 3, np.quantile(lengths, 0.99) * 3
    agreement = label_agreement(schema, rows, len(written), near)
    validator = output_validator(schema)
    seen: dict[str, set[str]] = {}
    found = []
    for i, row in enumerate(rows):
        made = i >= len(written)
        text, output = normalise(row.input_text), dump_output(schema, row.output)
        before = seen.setdefault(text, set())
        hard = {
            "a repetition of an earlier row": output in before,
            "the same input as a written row with another output": made and bool(before - {output}),
            "the same item as a held-out row": i in leaking,
            "not schema-valid": not validator.is_valid(row.output),
            "hardly any letters": letters_share(row.input_text) < LETTERS or "\ufffd" in row.input_text,
        }
        before.add(output)
        contract, novelty, difficulty = (_value(measured, name, i) for name in MEASURED)
        checks = {
            "length": 1.0 if shortest <= len(row.input_text) <= longest else 0.5,
            "readable": round(min(1.0, letters_share(row.input_text) / 0.8), 4),
            "unique": 0.0 if len(before) > 1 else 1.0,
            "agreement": agreement[i],
        }
        checks |= {} if contract is None else {"contract": contract}
        failed = [why for why, fails in hard.items() if fails]
        score = 0.0 if failed else round(sum(checks.values()) / len(checks), 4)
        values = {"score": score, "contract": contract, "novelty": novelty, "difficulty": difficulty}
        broken = failed or _broken(limits.generated if made else limits.written, values)
        kind: Literal["written", "generated"] = "generated" if made else "written"
        reason, filtered = broken[0] if broken else "", round(1 - score, 4)
        found.append(Evaluated(row.item_id, kind, not broken, score, filtered, contract, novelty, difficulty, reason, checks))
    return found


def verdict_plot(found: Sequence[Evaluated]) -> bytes:
    """How the scores, the novelty and the difficulty of written and generated rows are spread, as PNG."""
    from matplotlib.figure import Figure

    from pp_assets.evaluation.drawing import BLUE, RED, draw

    names = ("score", *MEASURED)

    def paint(figure: Figure) -> None:
        for axes, name in zip(figure.subplots(1, len(names)), names):
            for kind, colour in (("written", BLUE), ("generated", RED)):
                values = [v for one in found if one.kind == kind and (v := getattr(one, name)) is not None]
                if values:
                    axes.hist(values, bins=np.linspace(0, 1, 21), weights=np.full(len(values), 1 / len(values)), color=colour, alpha=0.5)
            axes.set_title(name, fontsize=9)
        figure.suptitle("Share of the written (blue) and generated (red) rows", fontsize=9)

    return draw((8.0, 2.4), paint)


def _value(measured: Mapping[str, np.ndarray] | None, name: str, row: int) -> float | None:
    value = float(measured[name][row]) if measured is not None and name in measured else np.nan
    return None if np.isnan(value) else round(value, 4)


def _broken(limits: Threshold, values: Mapping[str, float | None]) -> list[str]:
    """Which thresholds a row breaks, in words; what has no value breaks none."""
    found = []
    for name, value in values.items():
        least, most = getattr(limits, f"min_{name}", None), getattr(limits, f"max_{name}", None)
        if value is not None and least is not None and value < least:
            found.append(f"{name} below {least:g}")
        if value is not None and most is not None and value > most:
            found.append(f"{name} above {most:g}")
    return found


def letters_share(text: str) -> float:
    """Share of letters, digits and white space among the characters; scripts do not matter."""
    return sum(c.isalnum() or c.isspace() for c in text) / max(1, len(text))


def label_agreement(schema: Schema, rows: Sequence[Example], written: int, near: Near) -> list[float]:
    """For each row the share of its nearest written rows of other groups with the same label, mean over enum and boolean fields."""
    paths = [f.path for f in leaf_fields(schema) if f.kind in ("enum", "boolean")]
    if not paths or written <= NEIGHBOURS:
        return [1.0] * len(rows)
    labels = np.stack([codes_of([repr(get_path(row.output, path)) for row in rows]) for path in paths], axis=1)
    places = near.places[:, :NEIGHBOURS]
    there = places >= 0
    same = (labels[places] == labels[:, None, :]).mean(axis=2)
    total = there.sum(1)
    return np.where(total > 0, (same * there).sum(1) / np.maximum(total, 1), 1.0).round(4).tolist()


def summary(found: Sequence[Evaluated]) -> dict[str, Any]:
    """Counts by kind and reason, and the mean score of what is kept."""
    reasons: dict[str, int] = {}
    for one in found:
        if not one.keep:
            reasons[f"{one.kind}: {one.reason}"] = reasons.get(f"{one.kind}: {one.reason}", 0) + 1
    kept = [one for one in found if one.keep]
    return {
        "kept_written": sum(one.kind == "written" for one in kept),
        "kept_generated": sum(one.kind == "generated" for one in kept),
        "dropped": len(found) - len(kept),
        "dropped_by_reason": dict(sorted(reasons.items())),
        "mean_score": round(sum(one.score for one in kept) / len(kept), 4) if kept else None,
        **{f"mean_{name}": _mean([getattr(one, name) for one in kept]) for name in MEASURED},
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None

"""The data card of a generation: what was made from what, what was thrown away, how much it adds, and how to make it again."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pp_assets.data.generation.diversity import diversity
from pp_assets.data.generation.filters import Embed
from pp_assets.data.generation.made import Generated
from pp_assets.data.generation.run import Outcome
from pp_assets.data.leakage import HeldOut, leaks
from pp_assets.evaluation import webpage
from pp_assets.evaluation.markdown import md
from pp_assets.evaluation.markdown import table as md_table
from pp_assets.task.examples import Example
from pp_assets.task.spec import Task

CELLS_SHOWN = 40
WORDNET = "synonyms: WordNet 3.0, Copyright 2006 Princeton University, its licence (free, with notice)"


def card(
    task: Task,
    train: Sequence[Example],
    rows: Sequence[Generated],
    found: Outcome,
    held: HeldOut,
    embed: Embed | None,
    asked: Mapping[str, Any],
) -> dict[str, Any]:
    """The card as plain numbers. `asked` is what the provider was asked for and cost, empty where none is set."""
    texts = [g.example.input_text for g in rows]
    written = [e.input_text for e in train]
    vectors = embed([*written, *texts]) if embed and (written or texts) else None
    own = None if vectors is None else vectors[: len(written)]
    grid = found.grid
    return {
        "task": task.name,
        "task_digest": task.digest,
        "written": len(train),
        "generated": len(rows),
        "by_method": dict(sorted(Counter(g.method for g in rows).items())),
        "skipped": dict(found.skipped),
        "yields": found.yields,
        "coverage": {k: grid[k] for k in ("cells", "covered_before", "covered_after", "entropy_before", "entropy_after", "empty_by_label")},
        "cells": grid["rows"],
        "axes": grid["axes"],
        "diversity": {"written": diversity(written, own), "with generated": diversity([*written, *texts], vectors)},
        "leaks": leaks([g.example for g in rows], held, task.spec.eval_split.near_duplicate_threshold),
        "asked": dict(asked),
        "sources": sources(train, rows, asked),
        "options": task.spec.generation.model_dump(mode="json"),
        "seed": task.spec.seed,
        "command": f"pp generate {task.name}",
    }


def sources(train: Sequence[Example], rows: Sequence[Generated], asked: Mapping[str, Any]) -> list[str]:
    """Where the words come from, with the licence where one is given (`meta.source`, `meta.licence` of the training rows)."""
    said = Counter(
        (str(e.meta["source"]), str(e.meta.get("licence") or e.meta.get("license") or "")) for e in train if e.meta.get("source")
    )
    lines = [
        f"{n} training rows: {source}{f', {licence}' if licence else ', no licence given'}" for (source, licence), n in sorted(said.items())
    ]
    lines += [f"{len(train) - said.total()} training rows: the task's own data"] if len(train) > said.total() else []
    lines += [WORDNET] if any(g.method == "synonyms" for g in rows) else []
    return lines + ([f"asked of {asked['model']}"] if asked.get("model") else [])


def write_card(document: Mapping[str, Any], out: Path, proof: Mapping[str, Any] | None = None) -> None:
    """generation.json, data_card.md, data_card.html."""
    (out / "generation.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", "utf-8")
    parts = _parts(document, proof)
    title = f"Generated rows of {document['task']}"
    lines = [f"# {md(title)}", "", _first(document), ""]
    for name, told, head, cells in parts:
        lines += [f"## {name}", "", *(f"- {md(line)}" for line in told), *([""] if told else [])]
        lines += md_table(head, cells) if cells else []
    (out / "data_card.md").write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    sections = [
        webpage.Section(n, [webpage.items(told), webpage.table(head, cells) if cells else ""], True) for n, told, head, cells in parts
    ]
    page = webpage.page(
        title, [webpage.banner(title, "data card", "wait", f"{document['generated']} rows", _first(document), []), *sections]
    )
    (out / "data_card.html").write_text(page, "utf-8")


Part = tuple[str, list[str], Sequence[str], list[list[str]]]


def _parts(d: Mapping[str, Any], proof: Mapping[str, Any] | None) -> list[Part]:
    spread, coverage = d["diversity"], d["coverage"]
    stages = [[s["stage"], str(s["left"]), "; ".join(f"{n} {why}" for why, n in s["dropped"].items()) or s["note"]] for s in d["yields"]]
    cells = sorted(d["cells"], key=lambda c: (c["written"], -c["generated"]))[:CELLS_SHOWN]
    axes = [*d["axes"], "written", "generated"]
    empty = ", ".join(f"{label} ({n})" for label, n in list(coverage["empty_by_label"].items())[:12])
    told = [
        f"{coverage['covered_after']} of {coverage['cells']} cells have rows ({coverage['covered_before']} before)",
        f"entropy of the cells {_number(coverage['entropy_before'])} bits before, {_number(coverage['entropy_after'])} after",
    ]
    return [
        *([("Does it help?", list(proof["lines"]), [], [])] if proof else []),
        (
            "Methods",
            [f"{n}: not used, {why}" for n, why in d["skipped"].items()],
            ["method", "rows"],
            [[m, str(n)] for m, n in d["by_method"].items()],
        ),
        ("Yield", [], ["stage", "rows left", "dropped, or why nothing was"], stages),
        (
            "Diversity",
            [],
            ["texts", "distance to the nearest", "distinct pairs of words", "near-duplicates"],
            [[name, *(_number(found[k]) for k in ("nearest", "distinct_2", "duplicates"))] for name, found in spread.items()],
        ),
        ("Coverage", [*told, *([f"empty cells by label: {empty}"] if empty else [])], axes, [[str(c[a]) for a in axes] for c in cells]),
        ("Leaks", [f"{kind.replace('_', ' ')} with held-out rows: {n}" for kind, n in d["leaks"].items()], [], []),
        ("Asked of a provider", [f"{k}: {v}" for k, v in d["asked"].items()], [], []),
        ("Sources and licences", list(d["sources"]), [], []),
        ("Make it again", [d["command"], f"seed {d['seed']}, options {json.dumps(d['options'])}"], [], []),
    ]


def _first(d: Mapping[str, Any]) -> str:
    return f"{d['generated']} rows were made from {d['written']} training rows; each names its parents, method, parameters and seed."


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"

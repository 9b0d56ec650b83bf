"""The tables of a suite as rows of text: what its Markdown, its page and the command line show."""

from collections.abc import Mapping, Sequence
from typing import Any

from pp_assets.evaluation.markdown import calibration_cells, number
from pp_assets.evaluation.verdict import p_cell

FAMILY_HEAD = ("family", "n", "clean", "changed", "effect", "interval", "flips", "p (Holm)", "valid", "verdict")
PAIR_HEAD = ("what", "n", "effect", "interval", "flips", "p (Holm)", "verdict")
PARITY_HEAD = ("dimension", "field", "demographic parity difference", "of class", "equalised odds difference", "of class", "n")
CLASS_HEAD = ("field", "class", "support", "precision", "recall", "F1")
FIELD_HEAD = ("field", "accuracy", "macro F1", "ROC AUC")
TEXT_HEAD = ("field", "BLEU", "chrF", "ROUGE-1", "ROUGE-L", "semantic similarity", "BERTScore")
MATCH_HEAD = ("field", "precision", "recall", "F1")
Rows = list[list[str]]


def family_rows(document: Mapping[str, Any]) -> Rows:
    """One row a family of edits."""
    rows = []
    for name, found in document["robustness"]["families"].items():
        valid = share(found["validity"])
        if found["expects"] == "same":
            rows.append([name, str(found["n"]), _plain(found["clean"]), _plain(found["changed"]), *_effect(found), valid, found["verdict"]])
        else:
            rows.append([name, str(found["validity"]["n"]), *[""] * 6, valid, ""])
    return rows


def pair_rows(document: Mapping[str, Any], section: str) -> Rows:
    """One row a wording, or a pair of groups."""
    if section == "consistency":
        wording = document["consistency"]["wording"]
        found = {f"{wording['kind']} {name}": one for name, one in wording["variants"].items()}
    else:
        dimensions = document["bias"]["dimensions"]
        found = {f"{name}: {d['reference']} / {group}": one for name, d in dimensions.items() for group, one in d["groups"].items()}
    return [[name, str(one["n"]), *_effect(one), one["verdict"]] for name, one in found.items()]


def parity_rows(document: Mapping[str, Any]) -> Rows:
    rows = []
    for name, dimension in document["bias"]["dimensions"].items():
        for one in dimension["parity"]:
            cells = [[_gap(one[measure]), _label(one[measure]["class"])] for measure in ("demographic_parity", "equalised_odds")]
            rows.append([name, one["field"], *cells[0], *cells[1], str(one["n"])])
    return rows


def representation_rows(document: Mapping[str, Any]) -> tuple[list[str], Rows]:
    """Head and rows: which groups are mentioned how often in each split."""
    found = document["bias"]["representation"]
    splits = [key for key in (found[0] if found else {}) if key not in ("group", "test_right", "reason")]
    rows = [
        [one["group"], *(str(one[s]) for s in splits), share(one["test_right"]) if one["test_right"] else one["reason"]] for one in found
    ]
    return ["group", *(f"rows in {s}" for s in splits), "whole objects right in test"], rows


def field_rows(document: Mapping[str, Any]) -> Rows:
    found = document["metrics"]["classes"]
    return [[one["field"], *(number(one[key]) for key in ("accuracy", "macro_f1", "roc_auc"))] for one in found]


def class_rows(document: Mapping[str, Any]) -> Rows:
    return [
        [one["field"], row["class"], str(row["support"]), *(number(row[key]) for key in ("precision", "recall", "f1"))]
        for one in document["metrics"]["classes"]
        for row in one["classes"]
    ]


def text_rows(document: Mapping[str, Any]) -> Rows:
    keys = ("bleu", "chrf", "rouge1", "rougeL", "semantic_similarity", "bertscore")
    return [[one["field"], *(number(one[key]) for key in keys)] for one in document["metrics"]["texts"]]


def match_rows(document: Mapping[str, Any]) -> Rows:
    return [[one["field"], *(number(one[key]) for key in ("precision", "recall", "f1"))] for one in document["metrics"]["matching"]]


def calibration_rows(document: Mapping[str, Any]) -> Rows:
    return [calibration_cells(entry) for entry in document["calibration"]]


def verdict_rows(document: Mapping[str, Any]) -> Rows:
    return [[line["section"], line["name"], line["verdict"], line["text"]] for line in document["verdicts"]]


def share(found: Mapping[str, Any]) -> str:
    """`97.3 % (93.4 to 98.9)`."""
    span = "" if found["low"] is None else f" ({100 * found['low']:.1f} to {100 * found['high']:.1f})"
    return f"{100 * found['value']:.1f} %{span}"


def _effect(found: Mapping[str, Any]) -> Sequence[str]:
    effect = "—" if found["effect"] is None else f"{found['effect']:+.3f}"
    span = "—" if found["low"] is None else f"{found['low']:+.3f} to {found['high']:+.3f}"
    flips = share({"value": found["flips"], "low": found["flip_low"], "high": found["flip_high"]})
    return [effect, span, flips, p_cell(found["p_holm"])]


def _gap(found: Mapping[str, Any]) -> str:
    return f"{found['difference']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _label(name: str) -> str:
    return name.strip('"')


def _plain(value: float | None) -> str:
    return "—" if value is None else f"{value:.3f}"

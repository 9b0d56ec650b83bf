"""The tables of a comparison of two systems as rows of text: what its page, its Markdown and the command line show."""

from collections.abc import Mapping
from typing import Any

from pp_assets.evaluation.markdown import MAIN, TIMES, number, span
from pp_assets.evaluation.verdict import format_p, p_cell

METRIC_HEAD = ("metric", "A", "B")
TEST_HEAD = ("", "value", "how")
FIELD_HEAD = ("field", "kind", "A", "B", "A - B", "interval", "only A right", "only B right", "p (Holm)")
SLICE_HEAD = ("slice", "n", "A", "B", "A - B", "interval", "p (Holm)")
LOOK_HEAD = ("items", "groups", "A - B", "interval at all looks", "p")
LOOKS = 12  # of a sequential test
Rows = list[list[str]]


def metric_rows(document: Mapping[str, Any]) -> Rows:
    """The main metrics of both, the one that is compared first."""
    found = document["metrics"]
    wanted = dict.fromkeys((document["metric"], *MAIN, *TIMES))
    shown = [name for name in wanted if any(found[key][name]["value"] is not None for key in found)]
    return [[name, *(number(found[key][name]) for key in ("a", "b"))] for name in shown]


def evidence_rows(document: Mapping[str, Any]) -> Rows:
    """Effect, p, who wins how many items, sizes, power, each with how it was made; from what `head_to_head` or `ab_test` says."""
    c, judged = document["comparison"], document["non_inferiority"]
    rows = [["A - B, positive where A is better", _bounds(c, "effect", "+.4f"), c["interval"] or c["reason"]]]
    rows.append(["p", p_cell(c["p_value"]), c["test"]])
    if c["mcnemar_p"] is not None:
        rows.append(["mid-p", p_cell(c["mcnemar_mid_p"]), f"McNemar with mid-p, groups not counted; exact {format_p(c['mcnemar_p'])}"])
        ratio = {"odds_ratio": c["odds_ratio"], "low": c["odds_low"], "high": c["odds_high"]}
        rows.append(["odds ratio", _bounds(ratio, "odds_ratio", ".3g"), "items that only A has right, for one of B"])
    wins = "—" if document["wins"] is None else f"{document['wins']} / {document['losses']} / {document['ties']}"
    rows.append(["wins / losses / ties", wins, document["reason"] or "of A, item by item"])
    for name, title in (("cohens_dz", "Cohen's d_z"), ("cliffs_delta", "Cliff's delta")):
        rows.append([title, _bounds(document["effects"][name], "value", ".3g"), document["effects"][name]["reason"]])
    worst = f"; {c['detectable_worst']:.3f} if they disagreed on half" if c["detectable_worst"] else ""
    rows.append(["smallest detectable effect", _plain(c["detectable"]), f"what these items show with 80 % power{worst}"])
    if "power" in document:
        told = ["—", "no effect was observed"]
        if document["power"] is not None:
            told = [nearly(document["power"], 2), "for an effect as large as the one observed, which flatters"]
        rows.append(["power", *told])
    if judged:
        bounds = f"one-sided bounds {judged['low']:+.4f} to {judged['high']:+.4f}" if judged["low"] is not None else ""
        rows.append([f"no worse by more than {judged['margin']:g}", judged["verdict"], "; ".join(filter(None, (judged["reason"], bounds)))])
    return rows


def field_rows(document: Mapping[str, Any]) -> Rows:
    """Exact match of each field, and the paired difference."""
    rows = []
    for field in document["fields"]:
        test = field["test"]
        counts = ["—" if test[key] is None else str(test[key]) for key in ("only_candidate", "only_other")]
        scores = [field["path"], field["kind"], number(field["a_exact"]), number(field["b_exact"])]
        rows.append([*scores, _signed(test["effect"]), span(test), *counts, p_cell(test["p_holm"])])
    return rows


def slice_rows(document: Mapping[str, Any]) -> Rows:
    """The metric of both on each slice, and the paired difference."""
    return [
        [row["slice"], str(row["n"]), number(row["a"]), number(row["b"]), _signed(row["effect"]), span(row), p_cell(row["p_holm"])]
        for row in document["slices"]["rows"]
    ]


def look_rows(found: Mapping[str, Any]) -> Rows:
    """At most LOOKS of the looks of a sequential test, the first and the last among them."""
    looks = found["path"]
    shown = [looks[i] for i in sorted({round(k * (len(looks) - 1) / (LOOKS - 1)) for k in range(LOOKS)})]
    return [[str(one["n"]), str(one["groups"]), _signed(one["mean"]), span(one), p_cell(one["p"])] for one in shown]


def nearly(chance: float, digits: int) -> str:
    """A probability that is not certain is never shown as 1."""
    most = 1 - 10**-digits
    return f">{most:.{digits}f}" if chance > most else f"{chance:.{digits}f}"


def _bounds(found: Mapping[str, Any], key: str, form: str) -> str:
    if found[key] is None:
        return "—"
    ends = ["—" if found[end] is None else f"{found[end]:{form}}" for end in ("low", "high")]
    return f"{found[key]:{form}} ({' to '.join(ends)})"


def _signed(value: float | None) -> str:
    return "—" if value is None else f"{value:+.4f}"


def _plain(value: float | None) -> str:
    return "—" if value is None else f"{value:.3f}"

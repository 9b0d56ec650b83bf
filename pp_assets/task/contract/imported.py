"""Contracts of the founding API (Pi Labs, 2024 to 2025): the tree of its first eras and the list of questions of its last one, as ours.

Shapes as in its public SDK: `withpi/sdk-python`, from 0.1.0-alpha.10 (December 2024) to 1.78.1 (October 2025).
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from pp_assets.task.contract.aggregate import Aggregation
from pp_assets.task.contract.spec import Contract, parse_contract
from pp_resources.errors import UserError, nearest

JUDGES = ("LLM_AS_A_JUDGE", "PI_SCORER")
MODELS = ("HUGGINGFACE_SCORER", "CUSTOM_MODEL_SCORER")
_KNOWN = {"name", "description", "dimensions", "scoring_spec", "questions"}
_NODE = {
    *(
        "label",
        "description",
        "question",
        "tag",
        "weight",
        "scoring_type",
        "parameters",
        "python_code",
        "custom_model_id",
        "huggingface_url",
    ),
    *("action_dimension", "action_on_low_score", "is_lower_score_desirable", "remap_spec", "sub_dimensions"),
}
LIKERT = 5


class Imported(NamedTuple):
    """`modules` are the texts of the Python scorers that the file carried, by module name; `notes` say what could not be taken over as it
    was."""

    contract: Contract
    modules: dict[str, str]
    notes: list[str]


def import_contract(raw: Any, where: str, *, module: str, aggregation: Aggregation = "arithmetic") -> Imported:
    """A contract or scoring spec of the founding API. Code in it is never run: it becomes the text of modules named
    `module`_1 and so on, whose scores count once a person has looked at them and installed them."""
    taken = _Import(where, module)
    asked = raw if isinstance(raw, list) else raw.get("scoring_spec", raw.get("questions"))
    if isinstance(asked, list):
        whole = {} if isinstance(raw, list) else {k: raw[k] for k in ("name", "description") if raw.get(k)}
        found = {**whole, "questions": [taken.question(one, i) for i, one in enumerate(asked)]}
    elif isinstance(raw.get("dimensions"), list):
        for key in raw.keys() - _KNOWN:
            raise UserError(f"unknown key {key!r}", where=f"{where}: {key}", how=nearest(key, _KNOWN))
        found = {"name": raw.get("name") or "", "description": raw.get("description") or ""}
        found["dimensions"] = [taken.dimension(one, i) for i, one in enumerate(raw["dimensions"])]
    else:
        raise UserError("is no contract of the founding API", where=where, how="give one with dimensions, or a list of questions")
    return Imported(parse_contract({**found, "aggregation": aggregation}, where), taken.modules, taken.notes)


class _Import:
    """What one import gathers."""

    def __init__(self, where: str, module: str) -> None:
        self.where, self.module = where, module
        self.modules, self.notes = dict[str, str](), list[str]()

    def dimension(self, raw: Any, place: int) -> dict[str, Any]:
        at = f"dimensions.{place}"
        self.known(raw, at)
        below = raw.get("sub_dimensions") or []
        # A dimension that was never broken down is judged by its own words.
        nodes = [self.node(one, f"{at}.sub_dimensions.{i}") for i, one in enumerate(below)] or [self.words(raw)]
        found = {**self.words(raw), "sub_dimensions": nodes, **self.weight(raw), **self.gate(raw, at)}
        return found | ({"map": knots(raw["parameters"], f"{self.where}: {at}.parameters")} if raw.get("parameters") else {})

    def question(self, raw: Any, place: int) -> dict[str, Any]:
        if isinstance(raw, str):
            raw = {"question": raw}
        made = self.node({**raw, "description": raw.get("question", raw.get("description", ""))}, f"questions.{place}")
        made["question"] = made.pop("description")
        if not raw.get("label"):
            made["label"] = _label(f"{place + 1}. {made['question']}")
        return made | ({"tag": _label(raw["tag"])} if raw.get("tag") else {})

    def node(self, raw: Any, at: str) -> dict[str, Any]:
        self.known(raw, at)
        found = {**self.words(raw), **self.scorer(raw, at), **self.weight(raw), **self.gate(raw, at)}
        if raw.get("is_lower_score_desirable"):
            found["lower_is_better"] = True
        if raw.get("remap_spec") not in (None, "NEUTRAL"):
            self.notes.append(f"{at}.remap_spec: {raw['remap_spec']!r} has no public meaning, left out: calibrate instead")
        return found | ({"map": knots(raw["parameters"], f"{self.where}: {at}.parameters")} if raw.get("parameters") else {})

    def known(self, raw: Any, at: str) -> None:
        if not isinstance(raw, Mapping):
            raise UserError("is not an object", where=f"{self.where}: {at}")
        for key in raw.keys() - _NODE:
            raise UserError(f"unknown key {key!r}", where=f"{self.where}: {at}", how=nearest(key, _NODE))

    def words(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        text = str(raw.get("description") or "")
        return {"label": _label(str(raw.get("label") or text or "unnamed")), "description": text}

    def weight(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        return {} if raw.get("weight") is None else {"weight": float(raw["weight"])}

    def scorer(self, raw: Mapping[str, Any], at: str) -> dict[str, Any]:
        kind = raw.get("scoring_type") or "PI_SCORER"
        if kind == "PYTHON_CODE":
            name = f"{self.module}_{len(self.modules) + 1}"
            self.modules[name] = str(raw.get("python_code") or "").strip() + "\n"
            return {"kind": "python", "scorer": f"{name}:score"}
        if kind in MODELS:
            self.notes.append(
                f"{at}: the model {raw.get('custom_model_id') or raw.get('huggingface_url')!r} is judged by its question instead"
            )
        elif kind not in JUDGES:
            how = nearest(str(kind), [*JUDGES, *MODELS, "PYTHON_CODE"])
            raise UserError(f"{kind!r} is no scoring type", where=f"{self.where}: {at}.scoring_type", how=how)
        return {"kind": "judge"}

    def gate(self, raw: Mapping[str, Any], at: str) -> dict[str, Any]:
        given = raw.get("action_dimension")
        if not given:
            return {}
        self.known(given, f"{at}.action_dimension")
        found = {**self.words(given), **self.scorer(given, f"{at}.action_dimension")}
        # The era that brought gates had the switch on the node, later ones on the gate itself.
        return {"gate": {**found, "on_low": bool(given.get("action_on_low_score", raw.get("action_on_low_score")))}}


def knots(parameters: Any, where: str) -> list[list[float]]:
    """Calibration parameters as points: five are the values of the Likert marks 0.2, 0.4, …, 1; any other number n those at 1/(n+1),
    2/(n+1), … between (0, 0) and (1, 1)."""
    if not isinstance(parameters, list) or not all(isinstance(v, int | float) and 0 <= v <= 1 for v in parameters):
        raise UserError("are not numbers of 0 to 1", where=where)
    n = len(parameters)
    if n == LIKERT:
        points = [[(i + 1) / n, float(v)] for i, v in enumerate(parameters)]
    else:
        points = [[0.0, 0.0], *([(i + 1) / (n + 1), float(v)] for i, v in enumerate(parameters)), [1.0, 1.0]]
    if any(later[1] < earlier[1] for earlier, later in pairwise(points)):
        raise UserError("fall where they should rise", where=where, how="a better score may not count for less")
    return points


def _label(text: str) -> str:
    return " ".join(text.replace("/", " ").split())[:80] or "unnamed"

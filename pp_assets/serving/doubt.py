"""Which answers a person should look at, and why. Belongs here: the rules. Does not: waiting, storing, HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pp_assets.routing.sticky import shadows
from pp_assets.serving.spec import Handoff
from pp_resources.store.read_queue import AUDIT

if TYPE_CHECKING:
    from pp_assets.task.contract.spec import Contract

Reason = Literal["invalid", "contract", "confidence", "audit"]


@dataclass(frozen=True)
class Doubt:
    """Why an answer goes to a person: the first of the reasons in the order of `Reason`, and the numbers behind all that hold."""

    reason: Reason
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def handed_off(self) -> bool:
        """False for an audit: chance chose it, nothing speaks against the answer."""
        return self.reason != AUDIT


def doubt_of(
    rules: Handoff, *, task: str, id: str, key: str, confidence: float | None, valid: bool | None, judged: Mapping[str, Any] | None = None
) -> Doubt | None:
    """Why the answer `id` goes to a person, None where it does not. `judged` is what `judge` found; `key` is the installation's secret, by
    which chance chooses, so that nobody outside can know which answers are audited."""
    found: dict[Reason, Any] = {}
    if rules.invalid and valid is False:
        found["invalid"] = {}
    if judged:
        found["contract"] = {"contract": dict(judged)}
    if rules.confidence is not None and (confidence is None or confidence < rules.confidence):
        found["confidence"] = {"threshold": rules.confidence}
    if found:
        return Doubt(next(iter(found)), {name: value for part in found.values() for name, value in part.items()})
    if rules.audit and shadows({AUDIT: rules.audit}, task, id, key):
        return Doubt("audit", {"share": rules.audit})
    return None


def judge(rules: Handoff, contract: "Contract", text: str, output: str) -> dict[str, Any] | None:
    """What the contract has against an answer: its `score` (None: no score, `why` tells), the `least` that was asked for and the `gates`
    that refused it or could not judge it; None where it has nothing against it."""
    from pp_assets.task.contract.rules import Row
    from pp_assets.task.contract.score import score_rows

    scores = score_rows(contract, [Row(text, output)])
    total, against = scores.row(0)["total"], dict[str, Any]()
    if rules.contract_score is not None and (total is None or total < rules.contract_score):
        against["least"] = rules.contract_score
    if rules.contract_gates:
        # As the total has it: the score before its map decides, and where it is missing nothing is decided.
        each = zip(contract.nodes(), scores.raw[0], scores.shut[0], strict=True)
        hard = [(path, node.hard_gate, score, off) for (path, node), score, off in each if node.hard_gate is not None]
        refused = [path for path, gate, score, off in hard if (not off if np.isnan(score) else score < gate)]
        against |= {"gates": refused} if refused else {}
    if not against:
        return None
    return against | {"score": total} | ({"why": scores.row(0)["reasons"]} if total is None else {})

"""The quality check: may this answer go to the customer, or should a person look? Pure: what is known of the answer, in; a verdict, out."""

from dataclasses import dataclass

from examples.support_chat.gateway import Answer
from pp_assets.task.contract.rules import Row
from pp_assets.task.contract.score import score_rows
from pp_assets.task.contract.spec import Contract


@dataclass(frozen=True)
class Verdict:
    """`reasons` why a person should look; none: deliver. `score` is the contract's, None without a contract or where it has none.
    `unknown` names what could not be checked, which is no reason by itself."""

    reasons: tuple[str, ...] = ()
    score: float | None = None
    unknown: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.reasons


@dataclass(frozen=True)
class Checks:
    """`least_confidence` and `least_score` are the application's own limits, beside what the gateway says. A contract judges what can be
    judged without the right answer: the form, values that are allowed, copies that do stand in the message. `person` is the field (true or
    false) by which customers ask for somebody real."""

    least_confidence: float = 0.3
    least_score: float = 0.99
    contract: Contract | None = None
    person: str | None = "wants_human"

    def verdict(self, text: str, answer: Answer | None, problem: str = "") -> Verdict:
        if answer is None:
            return Verdict((f"no answer: {problem}",))
        reasons, unknown = [], []
        if answer.handoff:
            reasons.append(f"the gateway: {answer.handoff}")
        if not answer.valid:
            reasons.append("not the agreed form")
        if answer.confidence is None:
            unknown.append("confidence")
        elif answer.confidence < self.least_confidence:
            reasons.append(f"confidence {answer.confidence:.2f} below {self.least_confidence:.2f}")
        score = self._score(text, answer)
        if score is None:
            unknown.append("contract score")
        elif score < self.least_score:
            reasons.append(f"contract score {score:.2f} below {self.least_score:.2f}")
        if self.person is not None and (answer.output or {}).get(self.person) is True:
            reasons.append("the customer asks for a person")
        return Verdict(tuple(reasons), score, tuple(unknown))

    def _score(self, text: str, answer: Answer) -> float | None:
        if self.contract is None:
            return None
        total: float | None = score_rows(self.contract, [Row(text, answer.output)]).row(0)["total"]
        return total

"""Keep, tune, change or escalate: what a task needs next, decided by what is shown of its metrics and not by what they happen to be."""

import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pp_assets.task.spec_file import FieldProblem

Action = Literal["keep", "tune", "change", "escalate"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Standards(_Strict):
    """What a task asks of its quality in use (more is better), and of what it costs."""

    good: float = Field(description="from here on nothing needs to be done")
    poor: float = Field(description="below this it should not go on answering")
    most_cost: float | None = Field(default=None, gt=0, description="of an answer, on average")
    most_escalated: float | None = Field(default=None, gt=0, le=1, description="share of answers that go to a person")
    enough_examples: int = Field(default=50, ge=1, description="new examples that a training is worth")
    metric: str | None = Field(default=None, min_length=1, description="of the feedback; default: the one that variants compete by")
    days: int = Field(default=28, ge=1, description="how far back values count")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.poor < self.good:
            raise FieldProblem("poor", f"{self.poor:g} is not below good, {self.good:g}")
        return self


class Known(_Strict):
    """A metric with its interval; None where it could not be computed."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0


class Facts(_Strict):
    """What is known of the variant that answers, and around it. `better`: another variant that has been shown to be better."""

    quality: Known
    cost: Known | None = None
    escalated: Known | None = None
    better: str | None = None
    drift: bool = False
    new_examples: int = 0


class Step(_Strict):
    """`rule` names the first rule that held, `more` how many further values would about settle an open question."""

    action: Action
    rule: str
    reason: str
    facts: Facts
    standards: Standards
    more: int | None = None


def next_step(facts: Facts, standards: Standards) -> Step:
    """The first rule that holds: shown to be poor (change where a better variant is known, else escalate), a better variant is known
    (change), shown to be below good (tune), drift (tune), shown to cost or to hand over too much (change, tune), shown to be good (keep),
    else keep and wait. An interval that holds a threshold shows nothing about it."""
    quality = facts.quality
    if quality.value is None or quality.low is None or quality.high is None:
        return _step(facts, standards, "keep", "unknown", f"nothing is known of the quality yet ({quality.n} values)")
    told = f"quality {quality.value:.3f} [{quality.low:.3f}, {quality.high:.3f}] on {quality.n} values"
    if quality.high < standards.poor:
        what = f"{told} is below {standards.poor:g}"
        if facts.better:
            return _step(facts, standards, "change", "poor, better known", f"{what}, and {facts.better} has been shown to be better")
        return _step(facts, standards, "escalate", "poor", f"{what}, and no variant has been shown to be better: let people answer")
    if facts.better:
        return _step(facts, standards, "change", "better known", f"{facts.better} has been shown to be better; {told}")
    if quality.high < standards.good:
        return _step(facts, standards, "tune", "below good", f"{told} is below {standards.good:g}: {_how(facts, standards)}")
    if facts.drift:
        return _step(facts, standards, "tune", "drift", f"inputs have drifted: {_how(facts, standards)}; {told}")
    if over := _over(facts.cost, standards.most_cost):
        return _step(facts, standards, "change", "cost", f"an answer costs {over}: look for a cheaper variant or a cascade; {told}")
    if over := _over(facts.escalated, standards.most_escalated):
        return _step(facts, standards, "tune", "escalated", f"people answer {over}: {_how(facts, standards)}; {told}")
    if quality.low >= standards.good:
        return _step(facts, standards, "keep", "good", f"{told} is {standards.good:g} or more")
    missing = more_values(quality, standards)
    what = f"{told} is shown neither to be good ({standards.good:g}) nor below it"
    return _step(facts, standards, "keep", "open", f"{what}; about {missing} more values would tell" if missing else what, missing)


def more_values(quality: Known, standards: Standards) -> int | None:
    """How many more values make an interval of this kind narrow enough to leave out the threshold for good; None where the value lies
    on it. Widths shrink with the root of n."""
    if quality.value is None or quality.low is None or quality.high is None:
        return None
    side = quality.high - quality.value if quality.value < standards.good else quality.value - quality.low
    distance = abs(quality.value - standards.good)
    return max(1, math.ceil(quality.n * ((side / distance) ** 2 - 1))) if distance > 1e-9 else None


def _over(known: Known | None, most: float | None) -> str:
    if known is None or most is None or known.value is None or known.low is None or known.low <= most:
        return ""
    return f"{known.value:.4g} [{known.low:.4g}, {known.high:.4g}], more than {most:g}"


def _how(facts: Facts, standards: Standards) -> str:
    if facts.new_examples >= standards.enough_examples:
        return f"train with the {facts.new_examples} new examples"
    return f"{facts.new_examples} new examples are fewer than {standards.enough_examples}: adjust the prompt or its examples first"


def _step(facts: Facts, standards: Standards, action: Action, rule: str, reason: str, more: int | None = None) -> Step:
    return Step(action=action, rule=rule, reason=reason, facts=facts, standards=standards, more=more)

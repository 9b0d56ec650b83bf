"""What a task declares about routing: the metric that decides, the errors that are allowed, guards, cost. It sits under `routing`."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pp_assets.task.spec_file import FieldProblem
from pp_resources.artifacts import SLUG
from pp_resources.errors import nearest
from pp_resources.fingerprint import digest

Slug = Annotated[str, Field(pattern=SLUG.pattern)]
Share = Annotated[float, Field(ge=0, le=1)]
OBJECTIVE = "objective"  # the name in evidence of what variants compete by
OWN = ("invalid", "error", "latency_ms", "cost")
"""Metrics that an answer tells of itself: 0 or 1, milliseconds, US dollars. All others come from feedback."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Scale(_Strict):
    """A metric with its declared range. What lies beyond counts as the end of the range: the tests need bounds, and hold for what is
    counted."""

    metric: str = Field(min_length=1)
    low: float = 0.0
    high: float = 1.0

    @model_validator(mode="after")
    def _has_width(self) -> Self:
        if not self.low < self.high:
            raise FieldProblem("low", f"the range from {self.low:g} to {self.high:g} is empty")
        return self

    def clipped(self, value: float) -> float:
        return min(self.high, max(self.low, value))


class Guard(Scale):
    """A metric by which a variant must not be worse than the champion, whatever it gains elsewhere."""

    higher_is_better: bool = False
    above: float | None = Field(default=None, description="count how often the value exceeds this, as for a latency at the 95th percentile")
    tolerance: float = Field(ge=0, description="a loss against the champion that is allowed, in units of the metric (with above: a share)")
    horizon: float = Field(default=0.0, ge=0, description="seconds until a value is complete: 0 where the answer itself tells it")

    @model_validator(mode="after")
    def _limit_has_one_meaning(self) -> Self:
        if self.above is not None and (self.higher_is_better or (self.low, self.high) != (0.0, 1.0)):
            raise FieldProblem("above", "counts a share that is better when low, so that low, high and higher_is_better do not go with it")
        return self

    @property
    def name(self) -> str:
        return self.metric if self.above is None else f"{self.metric}>{self.above:g}"

    def counted(self, value: float) -> float:
        """The value as it enters the evidence."""
        return self.clipped(value) if self.above is None else float(value > self.above)


class Routing(Scale):
    """How variants of a task share its traffic, and when one of them has won."""

    higher_is_better: bool = True
    champion: Slug = Field(description="the variant that guards compare with")
    weights: dict[Slug, Annotated[float, Field(gt=0)]] = Field(min_length=1, description="of the variants that answer, without evidence")
    delta: float = Field(default=0.05, gt=0, lt=0.5, description="chance that a winner is ever declared which another is as good as")
    epsilon: float = Field(default=0.0, ge=0, description="variants this close may either win, in units of the objective")
    min_share: Share = Field(default=0.05, description="of the traffic, for each variant in the race")
    leader_share: float = Field(
        default=0.7, gt=0, lt=1, description="of the traffic that is shared out for the likely best one; 0.5 is soonest at a winner"
    )
    horizon: float = Field(default=3600.0, ge=0, description="seconds that feedback has to arrive")
    cohort: int = Field(default=50, ge=2, description="inferences between two decisions")
    cost_weight: float = Field(default=0.0, ge=0, description="value of one unit of cost, in units of the metric")
    most_cost: float | None = Field(default=None, gt=0, description="an inference that costs more counts as this much")
    guards: list[Guard] = []
    guard_alpha: float = Field(
        default=0.05, gt=0, lt=0.5, description="chance that a variant which keeps all tolerances is ever rolled back"
    )
    shadow: dict[Slug, Share] = Field(default={}, description="by variant the share of the traffic that it gets a copy of")
    answered_gap: float = Field(default=0.05, gt=0, le=1, description="difference in the share of inferences with feedback that is told of")

    @model_validator(mode="after")
    def _cross_references(self) -> Self:
        if self.champion not in self.weights:
            raise FieldProblem("champion", f"{self.champion!r} does not answer", nearest(self.champion, self.weights))
        if both := sorted(set(self.weights) & set(self.shadow)):
            raise FieldProblem("shadow", f"{both[0]!r} answers already", "take it out of weights or out of shadow")
        if self.min_share * len(self.weights) > 1:
            raise FieldProblem("min_share", f"{self.min_share:g} for each of {len(self.weights)} variants is more than there is")
        if (self.most_cost is None) != (self.cost_weight == 0):
            raise FieldProblem("most_cost", "cost_weight and most_cost go together", "give both or neither")
        names = [guard.name for guard in self.guards]
        if twice := [name for name in names if names.count(name) > 1 or name == OBJECTIVE]:
            raise FieldProblem("guards", f"two metrics are called {twice[0]!r}")
        if late := [guard.metric for guard in self.guards if guard.metric not in OWN and not guard.horizon]:
            raise FieldProblem("guards", f"{late[0]!r} comes from feedback, which takes time", "give it a horizon in seconds")
        if any(guard.metric == "latency_ms" and guard.above is None and guard.high <= 1 for guard in self.guards):
            raise FieldProblem("guards", "latency_ms is in milliseconds, which are no 0 to 1", "give above, or high")
        if self.epsilon >= self.top - self.bottom:
            raise FieldProblem("epsilon", "is wider than the range of the objective")
        return self

    @property
    def answering(self) -> list[str]:
        """The variants that answer users, sorted."""
        return sorted(self.weights)

    @property
    def variants(self) -> list[str]:
        """All variants, those that answer first, each part sorted."""
        return [*self.answering, *sorted(self.shadow)]

    @property
    def bottom(self) -> float:
        """The least that the objective can be."""
        return self.low - self.cost_weight * (self.most_cost or 0.0)

    @property
    def top(self) -> float:
        return self.high

    def objective(self, value: float, cost: float = 0.0) -> float:
        """What variants compete by: the metric, mirrored in its range where less is better, less the worth of what it cost."""
        good = self.clipped(value) if self.higher_is_better else self.low + self.high - self.clipped(value)
        return good - self.cost_weight * min(max(cost, 0.0), self.most_cost or 0.0)

    @property
    def experiment(self) -> str:
        """What the error rates are promised for: another question, another range or other variants are another experiment."""
        kept = self.model_dump(mode="json", exclude={"min_share", "leader_share", "cohort", "answered_gap", "horizon"})
        kept["weights"], kept["shadow"] = self.answering, sorted(self.shadow)
        return digest(kept)

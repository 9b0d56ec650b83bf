"""The `flywheel` section of a task: what starts a training, how a candidate proves itself beside the champion, what takes it back."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(gt=0, le=1)]
Hours = Annotated[float, Field(ge=0, le=24 * 365)]
GuardName = Literal["validity", "latency", "agreement"]
Cause = Literal["feedback", "drift", "regression"]
CANDIDATE: Literal["candidate"] = "candidate"
PREVIOUS: Literal["previous"] = "previous"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Guards(_Strict):
    """What a candidate must keep in use. Errors of all guards together, over all looks, stay under `alpha`."""

    validity: float = Field(
        default=0.02, ge=0, lt=1, description="invalid or missing answers that it may give more than the champion (share)"
    )
    slower: float = Field(default=3.0, ge=1, description="times the champion's time within which half of its answers must be")
    alpha: float = Field(default=0.05, gt=0, lt=0.5, description="chance that a good one is thrown out, and that a bad one is let in")


class Flywheel(_Strict):
    """How new models of a task come into use. Not enabled, a new package goes live as soon as it has passed the test on held-out data."""

    enabled: bool = False
    start: list[Cause] = Field(default=["feedback", "drift", "regression"], min_length=1, description="what may start a training")
    least_new: int = Field(default=50, ge=1, description="new demonstrations that start a training by themselves")
    after_alarm: int = Field(default=10, ge=1, description="new demonstrations that are enough where inputs drift or answers got worse")
    training_hours: Hours = Field(default=24.0, description="after which a training that brought nothing is given up")
    shadow: Share = Field(
        default=0.2,
        description="of the task's traffic that a candidate gets a copy of; where another variant answered, the champion gets one too",
    )
    copies: int = Field(default=300, ge=10, le=2000, description="answered copies before a candidate may be promoted")
    demonstrations: int = Field(default=0, ge=0, description="of these, inputs with a demonstration that came meanwhile")
    shadow_hours: Hours = Field(default=0.0, description="that a candidate stays in the shadow at least")
    patience_hours: Hours = Field(default=168.0, description="after which a candidate that is not shown to be good is dropped")
    guards: Guards = Guards()
    watch_hours: Hours = Field(default=24.0, description="that a new champion is watched, with the previous one at hand")
    roll_back: list[GuardName] = Field(
        default=["validity", "latency", "agreement"], description="guards that take a new champion back; others are only told of"
    )
    watch_answers: int = Field(default=300, ge=0, description="answers that a watch takes at least")
    cool_down_hours: Hours = Field(default=12.0, description="without a new training or candidate after one that failed")

"""The `flywheel` section of a task: what starts a training or the search of a prompt, how a candidate proves itself beside the champion,
what takes it back."""

from typing import Annotated, Any, Literal

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


class Trigger(_Strict):
    """What starts a training or a search. Each counts the demonstrations since its own last one."""

    start: list[Cause] = Field(default=["feedback", "drift", "regression"], min_length=1, description="what may start one")
    least_new: int = Field(default=50, ge=1, description="new demonstrations that start one by themselves")
    after_alarm: int = Field(default=10, ge=1, description="new demonstrations that are enough where inputs drift or answers got worse")


class Prompts(Trigger):
    """Searches of a prompt (`pp prompt optimise`) on the rows that trainings learn from. What the test releases is told of, with the
    command that puts it into the task; nothing is served that nobody put there."""

    target: str = Field(default="base", min_length=1, description="base: the task's language model; else a model by its name")
    writer: str | None = Field(default=None, min_length=1, description="a model that writes proposals; default: none")
    strategy: Literal["halving", "mipro", "gepa"] = "halving"
    calls: int = Field(default=1000, ge=1, le=1_000_000, description="model calls of a search, at most; those of its test come on top")
    usd: float | None = Field(default=None, ge=0, description="US dollars of a search, at most; those of its test with them")
    search_hours: Hours = Field(default=24.0, description="after which a search that brought nothing is given up")
    cool_down_hours: Hours = Field(default=24.0, description="after a search, without another one: with its budget what a day costs")

    @property
    def asked(self) -> dict[str, Any]:
        """What a search is asked for (`pp_assets.prompts.optimising.Wanted`), in plain values."""
        return self.model_dump(include={"target", "writer", "strategy", "calls", "usd"}, exclude_none=True)


class Flywheel(Trigger):
    """How new models of a task come into use. Not enabled, a new package goes live as soon as it has passed the test on held-out data."""

    enabled: bool = False
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
    prompts: Prompts | None = Field(default=None, description="searches of a prompt; default: none")

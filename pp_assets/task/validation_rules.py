"""The `validation_rules` section of a task: what its prompt and the evaluation of a model must be before anything ships.

    validation_rules:
      prompt_quality:
        - clarity_score: "> 0.8"
        - specificity: "high"
        - token_efficiency: "optimal"
      evaluation_validity:
        - sample_size: ">= 100"
        - statistical_power: ">= 0.8"
        - bias_checks: "passed"

A number is compared; a word is the least that is wanted, so that "medium" holds for "high" too.
"""

import operator
import re
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_serializer, model_validator

from pp_assets.task.spec_file import FieldProblem

Specificity = Literal["low", "medium", "high"]
Efficiency = Literal["poor", "acceptable", "optimal"]
LEVELS: dict[str, tuple[str, ...]] = {"specificity": get_args(Specificity), "token_efficiency": get_args(Efficiency)}
_OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_COMPARISON = re.compile(r"\s*(>=|<=|>|<)\s*([0-9]+(?:\.[0-9]+)?)\s*")


def _is_comparison(text: str) -> str:
    if not _COMPARISON.fullmatch(text):
        raise ValueError("not a comparison; write one of >=, >, <=, < and a number, such as '>= 0.8'")
    return text


def _is_of_share(text: str) -> str:
    sign, limit = _COMPARISON.fullmatch(_is_comparison(text)).groups()  # type: ignore[union-attr]
    if float(limit) > 1 or (sign == ">" and float(limit) == 1):
        raise ValueError("a measure of 0 to 1, which this does not compare; write such as '>= 0.8'")
    return text


Comparison = Annotated[str, AfterValidator(_is_comparison)]
OfShare = Annotated[str, AfterValidator(_is_of_share)]


class _Rule(BaseModel):
    """One measure and what is asked of it, as `{measure: asked}`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="after")
    def _says_one_thing(self) -> "_Rule":
        said = self._said()
        if len(said) != 1:
            how = f"start a line with '- ' for each of {', '.join(said)}" if said else f"name one of {', '.join(type(self).model_fields)}"
            raise FieldProblem("", f"a rule has one measure, this one has {len(said)}", how)
        return self

    @model_serializer
    def _said(self) -> dict[str, str]:
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}


class PromptRule(_Rule):
    clarity_score: OfShare | None = Field(default=None, description="mean of the checks of 'pp task check', 0 to 1")
    specificity: Specificity | None = None
    token_efficiency: Efficiency | None = None


class EvaluationRule(_Rule):
    sample_size: Comparison | None = Field(default=None, description="test items")
    statistical_power: OfShare | None = Field(default=None, description="of the paired test, for the smallest useful effect")
    bias_checks: Literal["passed"] | None = Field(default=None, description="the bias part of the comprehensive suite")


class ValidationRules(BaseModel):
    """Rules on the task's prompt and on the evaluation of a model."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    prompt_quality: list[PromptRule] = []
    evaluation_validity: list[EvaluationRule] = []


def holds(measure: str, asked: str, value: Any) -> bool:
    """Whether a measured value is what a rule asks for: a number by comparison, a level when it is that one or a better one."""
    if measure in LEVELS:
        return LEVELS[measure].index(value) >= LEVELS[measure].index(asked)
    compared = _COMPARISON.fullmatch(asked)
    return bool(_OPERATORS[compared[1]](value, float(compared[2]))) if compared else bool(value == asked)

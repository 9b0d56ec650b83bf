"""Keep, tune, change or escalate: by what is shown."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pp_assets.routing.next_step import Facts, Known, Standards, next_step

STANDARDS = Standards(good=0.8, poor=0.5, most_cost=2.0, most_escalated=0.2)
GOOD, MEDIUM, POOR = (
    Known(value=0.9, low=0.85, high=0.94, n=200),
    Known(value=0.7, low=0.62, high=0.77, n=100),
    Known(value=0.3, low=0.2, high=0.42, n=80),
)
OPEN = Known(value=0.78, low=0.7, high=0.86, n=100)
HIGH_COST, HIGH_SHARE = Known(value=3.0, low=2.5, high=3.5, n=50), Known(value=0.4, low=0.3, high=0.5, n=50)


@pytest.mark.parametrize(
    ("facts", "action", "told"),
    [
        ({"quality": Known(value=None)}, "keep", "nothing is known"),
        ({"quality": GOOD}, "keep", "quality 0.900 [0.850, 0.940] on 200 values is 0.8 or more"),
        ({"quality": OPEN}, "keep", "shown neither to be good (0.8) nor below it; about 1500 more values would tell"),
        ({"quality": MEDIUM, "new_examples": 80}, "tune", "is below 0.8: train with the 80 new examples"),
        ({"quality": MEDIUM, "new_examples": 8}, "tune", "8 new examples are fewer than 50: adjust the prompt"),
        ({"quality": MEDIUM, "better": "lora-r8"}, "change", "lora-r8 has been shown to be better"),
        ({"quality": POOR, "better": "lora-r8"}, "change", "is below 0.5, and lora-r8"),
        ({"quality": POOR, "new_examples": 900}, "escalate", "let people answer"),
        ({"quality": GOOD, "drift": True}, "tune", "inputs have drifted"),
        ({"quality": GOOD, "cost": HIGH_COST}, "change", "an answer costs 3 [2.5, 3.5], more than 2"),
        ({"quality": GOOD, "escalated": HIGH_SHARE}, "tune", "people answer 0.4 [0.3, 0.5], more than 0.2"),
        ({"quality": GOOD, "cost": Known(value=3.0, low=1.0, high=5.0, n=3)}, "keep", "is 0.8 or more"),
    ],
)
def test_each_rule_has_its_decision_and_its_reason(facts: dict[str, Any], action: str, told: str) -> None:
    found = next_step(Facts(**facts), STANDARDS)
    assert found.action == action and told in found.reason
    assert type(found).model_validate_json(found.model_dump_json()) == found


@given(st.floats(0, 1), st.floats(0, 0.5), st.floats(0, 0.5))
def test_nothing_is_done_on_an_interval_that_holds_all_thresholds(value: float, below: float, above: float) -> None:
    quality = Known(value=value, low=min(value - below, 0.5), high=max(value + above, 0.8), n=10)
    assert next_step(Facts(quality=quality), STANDARDS).action == "keep"


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_quality_never_asks_for_more(one: float, other: float) -> None:
    severity = {"escalate": 3, "tune": 2, "keep": 0}
    low, high = sorted((one, other))
    first, second = (next_step(Facts(quality=Known(value=q, low=q - 0.05, high=q + 0.05, n=50)), STANDARDS) for q in (low, high))
    assert severity[second.action] <= severity[first.action]


def test_the_number_of_further_values_is_none_where_no_number_would_tell() -> None:
    assert next_step(Facts(quality=Known(value=0.8, low=0.7, high=0.9, n=100)), STANDARDS).more is None


def test_standards_out_of_order_and_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"poor: 0.9 is not below good, 0.8"):
        Standards(good=0.8, poor=0.9)
    with pytest.raises(ValidationError, match="Extra inputs"):
        Standards.model_validate({"good": 0.8, "poor": 0.5, "god": 1})

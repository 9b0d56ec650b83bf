"""Models on one table: ranks that data carry, ties as ranges, what is unpriced, where a price is of tokens and where of the hour."""

import json
from datetime import date

import pytest
from suite_models import examples, task

from pp_assets.evaluation.benchmark import Timing, summary
from pp_assets.evaluation.predictions import System, make_rows
from pp_assets.evaluation.providers import Told, leaders, place, provider_table
from pp_resources.json_schema import dump_output
from pp_resources.models.interface import Prediction
from pp_resources.models.price import Price

ROWS = examples(80)
DUMP = task().io_schema.output


def system(name: str, wrong: range, **facts) -> System:
    """One that answers all rows right but these, which it answers with no JSON."""
    said = [Prediction("no" if i in wrong else dump_output(DUMP, row.output), **facts) for i, row in enumerate(ROWS)]
    return System(name=name, kind="candidate", description=name, rows=make_rows(ROWS, said, lambda output: dump_output(DUMP, output)))


def table(*systems: System, **told: Told):
    found = provider_table(task(), systems, {one["name"]: told.get(one["name"], Told(here=False)) for one in systems})
    return found, {one["name"]: one for one in found["models"]}


def test_ranks_that_the_data_cannot_tell_apart_are_ranges() -> None:
    found, by_name = table(system("bad", range(60)), system("good", range(3)), system("as-good", range(1, 5)))
    assert [one["name"] for one in found["models"]] == ["good", "as-good", "bad"] and found["n"] == 80
    assert [place(by_name[name]) for name in ("good", "as-good", "bad")] == ["1–2", "1–2", "3"]
    assert by_name["good"]["tied"] == ["as-good"] and by_name["bad"]["tied"] == []
    assert leaders(found) == ["good", "as-good"]
    against = by_name["bad"]["against_best"]
    assert by_name["good"]["against_best"] is None and against["effect"] == pytest.approx(-57 / 80)
    assert against["high"] < 0 and against["p_holm"] >= against["p_value"], "adjusted over all pairs"
    assert by_name["bad"]["valid"]["value"] == 0.25 and by_name["bad"]["valid"]["n"] == 80


def test_what_is_unpriced_says_so_and_what_is_priced_is_priced_by_its_tokens() -> None:
    priced = Told(here=False, price=Price(2.0, 10.0, date(2026, 10, 1)))
    facts = {"tokens_in": 500, "tokens_out": 100, "latency_ms": 400.0}
    systems = (system("paid", range(3), **facts), system("unknown", range(2), **facts), system("free", range(1)))
    _, found = table(*systems, paid=priced, free=Told(here=True))
    assert found["paid"]["cost"]["usd_per_1000"] == pytest.approx(1000 * (500 * 2 + 100 * 10) / 1e6)
    assert found["paid"]["cost"]["since"] == "2026-10-01" and found["paid"]["cost"]["n"] == 80
    assert found["unknown"]["cost"] == {"by": "tokens", "usd_per_1000": None, "reason": "unpriced"}
    assert found["free"]["cost"]["usd_per_1000"] is None and found["free"]["cost"]["by"] == "hour"
    assert found["paid"]["speed"]["tokens_per_s"] == 250 and found["paid"]["speed"]["p95"]["value"] == 400
    assert found["free"]["speed"]["p50"]["value"] is None and found["free"]["speed"]["p50"]["reason"] == "not timed"


def test_a_model_on_this_machine_is_priced_by_the_hour_and_timed_alone() -> None:
    timing = Timing(alone=[0.5] * 8, batched=[1.0], tokens_in=[0] * 8, tokens_out=[4] * 8)
    told = Told(here=True, timing=summary({"mine": timing}, 0)["mine"], hourly=3.6)
    _, found = table(system("mine", range(1), latency_ms=9.0), system("other", range(2)), mine=told)
    speed, cost = found["mine"]["speed"], found["mine"]["cost"]
    assert speed["p50"]["value"] == 500 and speed["tokens_per_s"] == 8, "the stored times of batches are not taken"
    assert cost["usd_per_1000"] == pytest.approx(0.5) and cost["by"] == "hour" and cost["n"] == 8, "timed texts"


def test_confidences_are_a_feature_that_the_answers_show() -> None:
    systems = (system("sure", range(1), confidence=0.9, fields={"team": 0.8}), system("whole", range(2), confidence=0.5))
    _, found = table(*systems, system("silent", range(3)), sure=Told(here=False, features={"licence": "apache-2.0"}))
    assert [found[name]["features"]["confidence"] for name in ("sure", "whole", "silent")] == [
        "of the object and its fields",
        "of the object",
        "none",
    ]
    assert found["sure"]["features"]["licence"] == "apache-2.0" and json.dumps(found)

"""The flows of the founding API do what the matching commands do, on a real task."""

import json

import pytest
from gateway_place import place
from job_place import ROW

from pp_assets.execute import Runner
from pp_assets.flows.catalogue import KINDS
from pp_assets.flows.work import Kept, Work
from pp_resources.errors import UserError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    where = place(tmp_path_factory.mktemp("flows"))
    with Runner(where.settings, tracking=False) as made:
        yield made


def run(runner, kind, /, **request):
    """(result, rows)"""
    kept = Kept()
    found = KINDS[kind]
    result = found.run(Work(runner.settings, kept, runner), found.model.model_validate(request))
    json.dumps([result, kept.rows], allow_nan=False)
    return result, kept.rows


def test_seeds_are_the_training_rows(runner):
    result, rows = run(runner, "generate_seeds", task="toy", num_inputs=5)
    assert len(rows) == result["rows"] == 5 and set(rows[0]) == {"input_text", "output"} and result["train"] + result["test"] < 60
    with pytest.raises(UserError, match="no topic 'none'"):
        run(runner, "generate_seeds", task="toy", topic="none")


def test_rows_are_made_as_the_task_or_as_the_request_says(runner):
    result, rows = run(runner, "generate_from_seeds", task="toy")
    assert rows and result["rows"] == len(rows) == result["generated"] and {"method", "parents"} < set(rows[0])
    current = runner.pipeline.current("generated", "toy").digest
    other, otherwise = run(runner, "generate_from_seeds", task="toy", exploration_mode="CONSERVATIVE", per_seed=2, num_inputs=4)
    assert len(otherwise) == 4 and set(other["by_method"]) <= {"noise", "casing", "synonyms"} != set(result["by_method"])
    assert runner.pipeline.current("generated", "toy").digest == current, "what is in force stays"


def test_inputs_get_topics_and_verdicts(runner):
    result, rows = run(runner, "evaluate_inputs", task="toy", kind="written", num_inputs=10)
    assert [row["filter_score"] for row in rows] == sorted((row["filter_score"] for row in rows), reverse=True) and len(rows) == 10
    assert result["kept_written"] > 0 and {row["kind"] for row in rows} == {"written"}
    asked = [{"identifier": f"n{n}", "llm_input": text} for n, text in enumerate(["please refund me", "wrong password\nagain", "x" * 50])]
    result, rows = run(runner, "cluster_inputs", task="toy", inputs=asked)
    assert [row["identifier"] for row in rows] == ["n0", "n1", "n2"] and result["rows"] and "map" not in result
    result, rows = run(runner, "cluster_inputs", inputs=asked)
    assert [row["identifier"] for row in rows] == ["n0", "n1", "n2"] and result["rows"] == 3


def test_feedback_that_is_sent_is_grouped_with_what_it_breaks(runner):
    said = [
        {
            "identifier": f"f{n}",
            "input_text": f"refund order A{n}",
            "output": {"topic": "pizza"},
            "comment": "wrong topic",
            "rating": "negative",
        }
        for n in range(4)
    ]
    result, rows = run(runner, "cluster_feedback", task="toy", feedbacks=said)
    assert result["entries"] == 4 and sum(row["size"] for row in rows) == 4 and rows[0]["rating"] == "negative"
    assert rows[0]["dimensions"]["form/schema"] > 0 and rows[0]["per_source"]["external"] > 0
    with pytest.raises(UserError, match="identifiers stand twice"):
        run(runner, "cluster_feedback", task="toy", feedbacks=said[:1] * 2)
    assert run(runner, "cluster_feedback", task="toy")[0] == {"entries": 0, "topics": 0}


def test_many_texts_are_answered_by_a_package(runner):
    result, rows = run(runner, "run_inference", task="toy", inputs=["please refund me", "forbidden words", "order A3 never came"] * 12)
    assert [row["index"] for row in rows] == list(range(36)) and result["package"] == "toy/encoder-lora"
    assert result["valid"] == sum(row["valid"] for row in rows) == 24 and "input_text" not in rows[0] and "error" in rows[1]
    with pytest.raises(UserError, match="no packages"):
        run(runner, "run_inference", task="toy", inputs=["a"], variant="lora-r8")


def test_a_contract_is_calibrated_or_it_is_told_why_not(runner):
    good, bad = ROW["output"], {"topic": "pizza"}
    marks = [{"input_text": f"refund A{n}", "output": good if n % 2 else bad, "score": 0.9 if n % 2 else 0.4} for n in range(60)]
    result, _ = run(runner, "calibrate", task="toy", marks=marks, write=True)
    assert result["refused"] is None and result["written"] and result["measured"]["mae"]["difference"]["high"] < 0
    assert (runner.settings.tasks / "toy" / "contract.yaml").exists() and result["contract"]["dimensions"]
    with pytest.raises(UserError, match="score and rating together"):
        run(runner, "calibrate", task="toy", marks=[{"input_text": "a", "output": good, "score": 1.0, "rating": 3}])
    with pytest.raises(UserError, match="3 marked inputs cannot show"):
        run(runner, "calibrate", task="toy", marks=marks[:3])


def test_settings_are_searched(runner):
    result, rows = run(runner, "tune", task="toy", variant="encoder-frozen", trials=2)
    assert [row["number"] for row in rows] == [0, 1] and result["trials"] == 2 and result["variant"] == "encoder-frozen"

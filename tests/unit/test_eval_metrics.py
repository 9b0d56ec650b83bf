import json

import pytest
from counting import bytes_held, growth, lines_run
from sklearn.metrics import f1_score
from test_eval_predictions import SCHEMA, answers, row, spec

from pp_assets.evaluation.metrics import MATRIX_UP_TO, confusions, score_metrics, score_system
from pp_assets.evaluation.scoring import Scoring, metric_names, score_rows
from pp_assets.task.spec import parse_spec
from pp_resources.errors import UserError

BUY = {"intent": "buy", "urgent": True, "order": "A1", "items": ["x"], "count": 1}


def test_every_named_metric_is_there_with_n_and_interval_or_a_reason():
    found = score_system(spec(), answers(0.8, 1))
    assert list(found) == metric_names(SCHEMA)
    for name, metric in found.items():
        if metric.value is None:
            assert metric.reason and metric.low is None, name
        else:
            assert metric.n > 0 and metric.method and metric.low <= metric.value <= metric.high, name


def test_rates_count_what_they_say():
    rows = [
        row(0, BUY, BUY),
        row(1, BUY, {**BUY, "intent": "sell"}),
        row(2, BUY, {**BUY, "intent": "hold"}),
        row(3, BUY, {**BUY, "extra": 1}),
        row(4, BUY, {**BUY, "order": "B7"}),
        row(5, BUY, '{"intent": NaN}'),
        row(6, BUY, json.dumps(BUY)[:-1] + ',"intent":"buy"}'),
        row(7, BUY, json.dumps(BUY)[:20], finish_reason="length"),
        row(8, BUY, "[]"),
        row(9, BUY, ""),
    ]
    found = {name: (metric.value, metric.n) for name, metric in score_system(spec(), rows).items()}
    assert found["json_valid_rate"] == (0.6, 10)
    assert found["schema_valid_rate"] == (0.3, 10)
    assert found["object_exact_match"] == (0.1, 10)
    assert found["valid_but_wrong_rate"] == (0.2, 10)
    assert found["forbidden_keys_rate"] == (0.2, 5)
    assert found["out_of_enum_rate"] == (0.2, 5)
    assert found["not_in_input_rate"] == (0.2, 5)
    assert found["length_stop_rate"] == (0.1, 10)
    assert found["field_exact.intent"] == (0.3, 10)
    assert found["field_exact_mean"][0] == pytest.approx((5 + 4 + 4 + 5 + 4) / 50)


def test_what_cannot_be_scored_is_none_with_a_reason():
    found = score_system(spec(), [row(i, {"intent": "buy", "urgent": True}, "no idea") for i in range(5)])
    reasons = {name: metric.reason for name, metric in found.items() if metric.value is None}
    assert reasons == {
        "value_f1": "no extracted value is expected or given",
        "forbidden_keys_rate": "no output was a JSON object",
        "out_of_enum_rate": "no output was a JSON object",
        "not_in_input_rate": "no output was a JSON object",
        "latency_ms_mean": "no time was stored",
        "latency_ms_p50": "no time was stored",
        "latency_ms_p95": "no time was stored",
        "tokens_per_s": "no time was stored",
        "field_f1.order": "no value is expected or given",
        "field_f1.items": "no value is expected or given",
        "field_f1.count": "a field of kind integer has exact match only",
    }
    assert found["object_exact_match"].value == 0.0


def test_macro_f1_is_that_of_scikit_learn_over_the_expected_classes():
    rows = answers(0.7, 3, 120)
    truth = [json.loads(r.expected)["intent"] for r in rows]
    said = [json.loads(r.output)["intent"] for r in rows]
    metric = score_system(spec(), rows)["field_f1.intent"]
    assert metric.value == pytest.approx(f1_score(truth, said, labels=sorted(set(truth)), average="macro"))
    assert "3 classes that are expected" in metric.method


def test_a_class_that_is_never_expected_is_no_class_of_the_average():
    truth, said = ["sell", "buy", "sell", "buy"], ["ask", "buy", "buy", "buy"]
    rows = [row(i, {"intent": t, "urgent": True}, {"intent": s, "urgent": True}) for i, (t, s) in enumerate(zip(truth, said))]
    expected = f1_score(truth, said, labels=["buy", "sell"], average="macro", zero_division=0)
    assert score_system(spec(), rows)["field_f1.intent"].value == pytest.approx(expected)


def test_word_f1_of_a_string_counts_no_null():
    truth = {"intent": "buy", "urgent": True, "order": "one two three"}
    rows = [
        row(0, truth, {**truth, "order": "two three four"}),
        row(1, {**truth, "order": None}, {**truth, "order": None}),
        row(2, {**truth, "order": None}, {**truth, "order": "two"}),
    ]
    metric = score_system(spec(), rows)["field_f1.order"]
    assert metric.value == pytest.approx(2 * 2 / (3 + 3 + 1))
    assert metric.n == 2


def test_item_f1_of_an_array_counts_repeated_items():
    truth = {"intent": "buy", "urgent": True, "items": ["x", "x", "y"]}
    metric = score_system(spec(), [row(0, truth, {**truth, "items": ["x", "z"]})])["field_f1.items"]
    assert metric.value == pytest.approx(2 * 1 / 5)


def test_value_f1_counts_whole_values_of_all_extracted_fields():
    rows = [row(0, BUY, {**BUY, "order": "A1 please", "count": 1})]
    assert score_system(spec(), rows)["value_f1"].value == pytest.approx(2 * 2 / 6)


def test_only_fields_that_are_quoted_can_be_found_missing_from_the_input():
    schema = {"type": "object", "properties": {"day": {"type": "string"}, "name": {"type": "string"}}}
    task = spec(io_schema={"output": schema})
    truth, said = {"day": "2024-05-03", "name": "Ann"}, {"day": "1999-01-01", "name": "Bob"}
    rows = [row(i, truth, said, input_text="Ann, tomorrow") for i in range(3)]
    metric = score_system(task, rows)["not_in_input_rate"]
    assert metric.value == 1.0
    assert "(name)" in metric.method


def test_objects_of_an_array_count_when_they_are_equal_as_a_whole():
    item = {"type": "object", "properties": {"feature": {"type": "string"}, "good": {"type": "boolean"}}}
    schema = {"type": "object", "properties": {"aspects": {"type": "array", "items": item}}}
    told = {**spec(), "io_schema": {"output": schema}, "rubric": None, "primary_metric": None, "gates": []}
    price, size = {"feature": "price", "good": True}, {"feature": "size", "good": False}
    rows = [row(0, {"aspects": [price, size]}, {"aspects": [size, {**price, "good": False}]}), row(1, {"aspects": []}, {"aspects": []})]
    metric = score_system(told, rows)["field_f1.aspects"]
    assert metric.value == 0.5 and metric.n == 1 and "micro F1 over items" in metric.method


def test_groups_of_several_items_widen_the_interval_and_are_named_in_the_method():
    alone, grouped = score_system(spec(), answers(0.8, 1)), score_system(spec(), _copies(answers(0.8, 1, 40), 5))
    assert alone["object_exact_match"].method.endswith("; exact with mid-p")
    assert "effective items (200 in 40 groups)" in grouped["object_exact_match"].method
    width = [m["object_exact_match"].high - m["object_exact_match"].low for m in (alone, grouped)]
    assert width[1] > 1.8 * width[0]


def test_perfect_scores_are_not_certain():
    found = score_system(spec(), [row(i, BUY, BUY) for i in range(20)])
    for name in ("object_exact_match", "field_f1.intent", "value_f1", "field_exact_mean"):
        assert found[name].value == 1.0
        assert found[name].low == pytest.approx(0.84, abs=0.01), name


def test_speed_is_told_from_the_stored_rows():
    rows = [row(i, BUY, BUY, latency_ms=float(i + 1), tokens_out=3) for i in range(100)]
    found = score_system(spec(), rows)
    assert (found["latency_ms_p50"].value, found["latency_ms_p95"].value) == (50.5, pytest.approx(95.05))
    assert found["latency_ms_p50"].low < 50.5 < found["latency_ms_p50"].high
    assert found["tokens_per_s"].value == pytest.approx(300 / 5.05)
    none = score_system(spec(), [row(i, BUY, BUY, latency_ms=2.0) for i in range(9)])["tokens_per_s"]
    assert (none.value, none.reason) == (None, "the system generates no tokens")


def test_the_confusion_matrix_has_a_row_for_what_is_expected_and_a_column_for_invalid_answers():
    sell = {**BUY, "intent": "sell"}
    rows = [row(0, BUY, BUY), row(1, BUY, sell), row(2, BUY, "?"), row(3, BUY, "?"), row(4, sell, "?")]
    found = confusions(score_rows(spec(), rows))["intent"]
    assert found["labels"] == ["buy", "sell", "(invalid)"]
    assert found["matrix"] == [[1, 1, 2], [0, 0, 1], [0, 0, 0]]
    assert found["top"][0] == {"expected": "buy", "answered": "(invalid)", "count": 2}


def test_a_very_large_confusion_matrix_is_told_by_its_top():
    names = [f"c{i:03d}" for i in range(MATRIX_UP_TO + 1)]
    task = spec(io_schema={"output": {"type": "object", "properties": {"a": {"enum": names}}}})
    found = confusions(score_rows(task, [row(i, {"a": n}, {"a": names[0]}) for i, n in enumerate(names)]))["a"]
    assert found["matrix"] is None
    assert (found["classes"], len(found["top"])) == (MATRIX_UP_TO + 1, 20)


def test_a_spec_its_dict_and_the_default_rules_mean_the_same():
    raw = spec(instruction_template="{{ input_text }}", rubric={"fields": {"order": {"compare": "casefold"}}})
    parsed = parse_spec(raw, "toy")
    assert Scoring.of(parsed) == Scoring.of(parsed.model_dump(mode="json")) == Scoring.of(raw)
    assert Scoring.of(raw).compare == {"intent": "exact", "urgent": "exact", "order": "casefold", "items": "ordered", "count": "exact"}


@pytest.mark.parametrize(
    ("rows", "changes", "says"),
    [
        ([], {}, "no predictions to score"),
        ([row(0, BUY, BUY), row(0, BUY, BUY)], {}, "item '00000' was answered twice"),
        ([row(0, BUY, BUY)], {"primary_metric": {"name": "object_exact"}}, "did you mean 'object_exact_match'?"),
        ([row(0, BUY, BUY)], {"primary_metric": {"name": "latency_ms_mean"}}, "less of latency_ms_mean is better"),
    ],
)
def test_rows_that_cannot_be_scored_are_refused(rows, changes, says):
    with pytest.raises(UserError) as error:
        score_rows(spec(**changes), rows)
    assert says in str(error.value)


@pytest.mark.parametrize("measure", [lines_run, bytes_held])
def test_twice_as_many_items_take_twice_as_much(measure):
    def scored(count):
        rows = answers(0.8, 1, count)
        return lambda: score_metrics(score_rows(spec(), rows))

    assert growth(scored, 400, measure) < 2.1


def _copies(rows, times):
    from dataclasses import replace

    return [replace(r, item_id=f"{r.item_id}-{i}") for r in rows for i in range(times)]

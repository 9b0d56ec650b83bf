"""Numbers, dates and times: from gold values to conventions, targets and answers."""

import json
from dataclasses import replace

import pytest
import torch
from test_encoder_tokens import tiny, tokenizer  # noqa: F401
from test_encoder_training import FAST, load_predictor, task, train

from pp_assets.task.examples import Example
from pp_resources.models.encoder.compile import Head, compile_schema
from pp_resources.models.encoder.conventions import data_problems, learn
from pp_resources.models.encoder.decode import HeadDecoder
from pp_resources.models.encoder.targets import head_loss, target_of
from pp_resources.models.encoder.tokens import collate, encode


def schema_of(leaf):
    return {"type": "object", "required": ["x"], "properties": {"x": leaf}}


def learnt(leaf, *rows):
    (head,) = learn(compile_schema(schema_of(leaf)), [(text, {"x": value}) for text, value in rows])
    return head


DATE, NUMBER = {"type": ["string", "null"], "format": "date"}, {"type": ["number", "null"]}


def test_conventions_are_those_that_read_most_gold_values():
    both = ("on 3/4/2025", "2025-04-03"), ("on 13/4/2025", "2025-04-13")
    assert learnt(DATE, *both).reader.day_first
    assert not learnt(DATE, ("on 3/4/2025", "2025-03-04"), *both[1:]).reader.day_first
    assert learnt(NUMBER, ("12,50 EUR", 12.5)).reader.decimal_comma
    assert not learnt(NUMBER, ("12,500 EUR", 12500)).reader.decimal_comma
    clock = learnt({"type": "string", "format": "time"}, ("at half past six", "18:30:00")).reader
    assert (clock.afternoon, clock.form) == (True, "%H:%M:%S")
    moment = learnt({"type": "string", "format": "date-time"}, ("3/4/2025 10:00", "2025-04-03 10:00")).reader
    assert (moment.day_first, moment.form) == (True, "%Y-%m-%d %H:%M")


def test_a_formatted_string_that_the_data_copy_stays_a_copied_string():
    assert learnt(DATE, ("on May 3rd", "May 3rd"), ("today", "today")).kind == "span"
    assert learnt(DATE, ("on 2025-05-03", "2025-05-03")).kind == "value"


def test_an_integer_of_a_few_values_is_read_where_the_text_says_it_and_chosen_where_not():
    leaf = {"type": "integer", "minimum": 1, "maximum": 5}
    assert learnt(leaf, ("a table for 4", 4), ("two of us", 2)).kind == "value"
    assert learnt(leaf, ("great", 5), ("two days late, awful", 1)).kind == "choice"
    assert learnt(leaf).kind == learnt({"type": "integer", "const": 4}, ("a table for 4", 4)).kind == "choice"


def test_heads_with_conventions_survive_json():
    head = learnt({"type": "number"}, ("12,5", 12.5), ("3", 3), ("or 3", 3))
    assert head.fallback == 3
    assert Head.from_json(json.loads(json.dumps(head.to_json()))) == head


def test_values_that_mostly_cannot_be_read_are_refused_with_an_example():
    good, bad, worse = ("pay 5", {"x": 5}), ("pay what you owe", {"x": 7}), ("pay all", {"x": 8})
    assert data_problems(schema_of(NUMBER), [good, bad, ("nothing", {"x": None})]) == []
    (problem,) = data_problems(schema_of(NUMBER), [good, bad, worse])
    assert problem.startswith(
        "field 'x' cannot be read off the input in 2 of 3 rows (such as 7 from 'pay what you owe'), which no encoder head"
    )


def test_values_that_stand_nowhere_but_come_back_are_chosen():
    pounds, euros = ("pay 5 £", "GBP"), ("pay 5 €", "EUR")
    text = {"type": ["string", "null"]}
    head = learnt(text, *[pounds, euros] * 4, ("stay", None))
    assert (head.kind, head.values) == ("choice", ("EUR", "GBP", None))
    assert learnt({"type": "string"}, *[pounds] * 8).values == ("GBP",)
    assert learnt({**text, "x-verbatim": True}, *[pounds, euros] * 4).kind == "span"
    assert learnt(text, *[("pay me", str(i)) for i in range(20)]).kind == "span"
    assert learnt(text, *[("in £", "£")] * 9, pounds).kind == "span"
    year = learnt({"type": "integer"}, *[("on Monday", 2022), ("in May", 2023)] * 3)
    assert (year.kind, year.values) == ("choice", (2022, 2023))
    assert data_problems(schema_of({"type": "integer"}), [("on Monday", {"x": 2022}), ("in May", {"x": 2022})]) == []


def test_a_field_that_is_lost_in_few_of_all_rows_does_not_refuse_the_rest():
    rows = [("pay what you owe", {"x": 7}), ("or this", {"x": 8})]
    assert data_problems(schema_of(NUMBER), [*rows, *[("no", {"x": None})] * 197])
    assert data_problems(schema_of(NUMBER), [*rows, *[("no", {"x": None})] * 199]) == []


def test_every_place_of_the_gold_value_is_right_and_the_other_values_are_wrong(tokenizer):  # noqa: F811
    head = learnt(NUMBER)
    text = "two of 7 or 2"
    (row,) = encode(tokenizer, [text], 64)

    def marks(value):
        target = target_of(head, row, text, {"x": value})
        return target and [(text[row.offsets[a][0] : row.offsets[b][1]], right) for a, b, right in target]

    assert marks(2) == [("two", True), ("7", False), ("2", True)]
    assert marks(None) == [("two", False), ("7", False), ("2", False)]
    assert marks(3) is None
    (cut,) = encode(tokenizer, ["please " * 9], 64)
    assert target_of(head, replace(cut, offsets=[(0, 0)] * len(cut.ids)), text, {"x": 7}) is None


def answer(head, schema, tokenizer, text, score, null=0.0):  # noqa: F811
    """Decode one row in which the tokens of each word in `score` have its score as start and as end."""
    (row,) = encode(tokenizer, [text], 64)
    logits = torch.full((1, 1 + len(row.ids), 2), -5.0)
    logits[0, 0] = torch.tensor([null, 0.0])
    for at, (a, b) in enumerate(row.offsets):
        for word, value in score.items():
            start = text.find(word)
            if b > a and start <= a and b <= start + len(word):
                logits[0, 1 + at] = value
    ((value, p),) = HeadDecoder(head, 4, schema).decode(logits, [row], [text])
    return value, p


def test_the_answer_is_the_best_value_that_the_schema_allows(tokenizer):  # noqa: F811
    text, score = "12 of 7 or 3,000 and 7", {"12": 3.0, "7": 1.0, "3,000": 2.0}
    for leaf, expected in (
        ({"type": "number"}, 12),
        ({"type": "number", "minimum": 100}, 3000),
        ({"type": "integer", "maximum": 8}, 7),
        ({"type": "integer", "multipleOf": 1000}, 3000),
        ({"type": ["number", "null"], "exclusiveMinimum": 3000}, None),
    ):
        assert answer(learnt(leaf), schema_of(leaf), tokenizer, text, score)[0] == expected, leaf
    assert answer(learnt(NUMBER), schema_of(NUMBER), tokenizer, text, score, null=9.0)[0] is None


def test_a_required_value_that_stands_nowhere_is_the_commonest_one_and_not_trusted(tokenizer):  # noqa: F811
    leaf = {"type": "integer", "minimum": 0}
    assert answer(learnt(leaf, ("4", 4), ("4", 4), ("5", 5)), schema_of(leaf), tokenizer, "please", {}) == (4, 0.0)
    assert answer(learnt(NUMBER, ("4", 4)), schema_of(NUMBER), tokenizer, "please", {}) == (None, 1.0)


def test_places_that_say_the_same_add_up(tokenizer):  # noqa: F811
    head, text = learnt({"type": "number"}), "3 or 7 or seven"
    value, p = answer(head, schema_of({"type": "number"}), tokenizer, text, {"3": 0.2, "7": 0.0, "seven": 0.0})
    assert (value, p) == (7, pytest.approx(2 / (2 + 2.718281828**0.4)))


def test_a_probability_that_adds_up_is_not_above_one(tokenizer):  # noqa: F811
    # A third rounded to 32 bits, three times.
    head, schema = learnt({"type": "number"}), schema_of({"type": "number"})
    assert answer(head, schema, tokenizer, "7 and 7 and 7", {}) == (7, 1.0)


def test_the_loss_falls_where_the_right_value_gains(tokenizer):  # noqa: F811
    head, texts = learnt(NUMBER), ["2 and 7", "7", "please"]
    rows = encode(tokenizer, texts, 64)
    batch = collate(rows, 0)
    targets = [target_of(head, row, text, {"x": value}) for row, text, value in zip(rows, texts, (7, 9, None))]
    assert targets[1] is None
    logits = torch.zeros((3, 1 + batch.ids.shape[1], 2), requires_grad=True)
    loss = head_loss(head, logits, targets, batch.words, 4, 0.0)
    assert loss.item() == pytest.approx(torch.tensor(3.0).log().item() / 2)
    (slope,) = torch.autograd.grad(loss, logits)
    assert (slope[0, 1 + 3] < 0).all() and (slope[0, 1 + 1] > 0).all() and slope[0, 0, 0] > 0
    assert not slope[1:].any()


def test_numbers_and_dates_are_learnt_from_rows_and_written_as_the_schema_has_them(tiny, tmp_path):  # noqa: F811
    """The count behind "for", not the one behind "order"; the only date there is, day first."""
    output = {
        "type": "object",
        "required": ["count", "day"],
        "properties": {"count": {"type": "integer", "minimum": 1}, "day": {"type": ["string", "null"], "format": "date"}},
    }
    words = {2: "two", 3: "3", 15: "fifteen", 21: "21", 4: "four", 8: "8"}

    def row(i):
        count, day = list(words)[i % 6], f"{1 + i % 27}/{1 + i % 12}/2025" if i % 3 else None
        parts = [f"order {i % 9 + 30}", f"from the {words[count]}"]
        text = " ".join(parts[:: 1 if i % 2 else -1]) + (f" to {day}" if day else "")
        return Example(f"{i:x}", text, {"count": count, "day": day and f"2025-{1 + i % 12:02}-{1 + i % 27:02}"})

    recipe = replace(FAST, params=replace(FAST.params, epochs=6, head_lr=1e-2))
    train(tiny, tmp_path / "out", recipe=recipe, rows=[row(i) for i in range(120)], val=[row(i) for i in range(120, 140)], output=output)
    unseen = [row(i) for i in range(140, 180)]
    answers = load_predictor(tmp_path / "out", task(tiny, output), threads=1).predict([r.input_text for r in unseen])
    assert sum(json.loads(a.text) == r.output for a, r in zip(answers, unseen)) >= 32
    stored = json.loads((tmp_path / "out" / "adapter" / "heads.json").read_text())["heads"]
    assert stored[1]["reader"]["day_first"]
    assert json.loads((tmp_path / "out" / "training.json").read_text())["labels"]["trained_share"] == {"count": 1.0, "day": 1.0}

"""Generated rows: true to their output, traceable to a parent, repeatable, and never close to held-out rows."""

import random

import pytest

from pp_assets.data.generate import Slots, generate, values_of
from pp_assets.data.leakage import HeldOut, leaks, nearest_similarity
from pp_assets.data.noise import KINDS, lower_case, no_punctuation, spans_of, typos
from pp_assets.data.rows import read_generated, write_generated
from pp_assets.task.examples import Example
from pp_resources.json_schema import not_verbatim, output_validator

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["currency", "amount", "items"],
    "properties": {
        "currency": {"enum": ["EUR", "USD"]},
        "amount": {"type": ["string", "null"], "x-verbatim": True},
        "items": {"type": "array", "items": {"type": "string", "x-verbatim": True}},
    },
}
NOBODY = HeldOut([], frozenset(), frozenset())


def row(name: str, text: str, currency: str, amount: str | None, *items: str) -> Example:
    return Example(name, text, {"currency": currency, "amount": amount, "items": list(items)}, f"s-{name}", f"g-{name}")


ROWS = [
    row("a", "Please book 12 euro for the coffee today.", "EUR", "12 euro", "coffee"),
    row("b", "Refund me 7,50 euro, the umbrella broke again.", "EUR", "7,50 euro", "umbrella"),
    row("c", "I paid $40 at the station for a train ticket.", "USD", "$40", "train ticket"),
    row("d", "Taxi and lunch in Lyon, 55 euro in all", "EUR", "55 euro", "Taxi", "lunch"),
    row("e", "Nothing to claim this week, thanks!", "EUR", None),
]


def made(per_seed: int = 4, seed: int = 3, held: HeldOut = NOBODY, rows: list[Example] = ROWS):
    return generate(SCHEMA, rows, held, per_seed=per_seed, seed=seed, threshold=0.8)


def test_every_generated_row_is_valid_and_its_values_stand_in_its_input() -> None:
    found = made()
    assert len(found.rows) > 5
    for g in found.rows:
        assert output_validator(SCHEMA).is_valid(g.example.output)
        assert not not_verbatim(SCHEMA, g.example.output, g.example.input_text)


def test_each_row_names_parent_method_parameters_and_seed() -> None:
    parents = {r.item_id: r for r in ROWS}
    for g in made().rows:
        parent = parents[g.parent]
        assert g.method in ("recombination", "noise") and g.params and g.seed >= 0
        assert (g.example.group, g.example.source_id) == (parent.group, parent.source_id), "it must stay on its parent's side of a split"


def test_values_only_move_between_rows_that_agree_in_everything_else() -> None:
    """A dollar amount in a euro row would make the currency wrong."""
    assert Slots(SCHEMA, ROWS).donors(ROWS[0], Slots(SCHEMA, ROWS).fields[0]) == ["12 euro", "7,50 euro"]
    recombined = [g for g in made(per_seed=10).rows if g.method == "recombination"]
    assert recombined
    for g in recombined:
        amount = g.example.output["amount"]
        assert ("$" in amount) == (g.example.output["currency"] == "USD")


def test_noise_leaves_the_output_as_it_is() -> None:
    outputs = {r.item_id: r.output for r in ROWS}
    noisy = [g for g in made(per_seed=10).rows if g.method == "noise"]
    assert noisy and all(g.example.output == outputs[g.parent] for g in noisy)


def test_the_same_seed_gives_the_same_rows_in_any_order_of_parents() -> None:
    forward = {g.example.item_id for g in made().rows}
    assert forward == {g.example.item_id for g in made(rows=ROWS[::-1]).rows}
    assert forward != {g.example.item_id for g in made(seed=4).rows}


def test_rows_close_to_held_out_rows_are_dropped_and_counted() -> None:
    held = HeldOut([r.input_text for r in ROWS], frozenset(), frozenset())
    found = generate(SCHEMA, ROWS, held, per_seed=4, seed=3, threshold=0.6)
    assert found.dropped["close to a held-out row"] > 0
    assert not any(nearest_similarity([g.example.input_text for g in found.rows], held.texts, 0.6))


def test_a_value_that_stands_twice_is_not_exchanged() -> None:
    twice = row("x", "12 euro, yes 12 euro, for the coffee today", "EUR", "12 euro", "coffee")
    found = generate(SCHEMA, [twice, *ROWS], NOBODY, per_seed=6, seed=1, threshold=0.8)
    changed = [c["field"] for g in found.rows if g.parent == "x" and g.method == "recombination" for c in g.params["changes"]]
    assert "amount" not in changed


def test_unmarked_strings_count_as_verbatim_only_when_all_values_stand_in_their_inputs() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    rows = [Example(str(i), f"from {c} please", {"city": c}, None, str(i)) for i, c in enumerate(["Rome", "Oslo", "Bern", "Riga", "Lyon"])]
    assert [f.path for f in Slots(schema, rows).fields] == ["city"]
    rows.append(Example("9", "from the capital of Spain", {"city": "Madrid"}, None, "9"))
    assert not Slots(schema, rows).fields


def test_generated_rows_survive_the_file(tmp_path) -> None:
    rows = made().rows
    write_generated(tmp_path / "g.parquet", rows)
    write_generated(tmp_path / "again.parquet", rows)
    assert read_generated(tmp_path / "g.parquet") == rows
    assert (tmp_path / "g.parquet").read_bytes() == (tmp_path / "again.parquet").read_bytes()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_noise_never_touches_a_protected_value(kind: str) -> None:
    text = "Send the Blue Kettle, order AB.12, to Anna Berg. Thanks!"
    keep = spans_of(text, ["Blue Kettle", "AB.12", "Anna Berg"])
    for seed in range(50):
        noisy = KINDS[kind](text, keep, random.Random(seed))
        assert all(value in noisy for value in ("Blue Kettle", "AB.12", "Anna Berg"))


def test_kinds_of_noise_do_what_they_say() -> None:
    free = [False] * 100
    assert lower_case("Hello Anna", free, random.Random(0)) == "hello anna"
    assert no_punctuation("Well, 3.5 is ok!", free, random.Random(0)) == "Well 3.5 is ok"
    assert typos("1234 !!", free, random.Random(0)) == "1234 !!"
    assert typos("some longer words here", free, random.Random(1)) != "some longer words here"


def test_values_are_found_in_nested_objects_and_arrays() -> None:
    assert values_of({"a": {"b": ["x", "y"]}}, "a.b") == ["x", "y"]
    assert values_of({"a": {"b": None}}, "a.b") == []


def test_leaks_are_counted_by_kind() -> None:
    held = HeldOut(["Please book 12 euro for the coffee today!"], frozenset({"b"}), frozenset({"g-c"}))
    assert leaks(ROWS, held, 0.8) == {"same_item": 1, "same_group": 1, "near_duplicate": 1, "disturbed": 0}


def test_similarity_agrees_with_comparing_every_pair() -> None:
    rng = random.Random(0)
    words = ["order", "late", "refund", "please", "where", "kettle", "my", "is"]
    ours = [" ".join(rng.choices(words, k=7)) for _ in range(60)]
    theirs = [text + rng.choice(["", "!", " now", " thanks a lot for nothing"]) for text in ours[:30]]
    from pp_assets.task.duplicates import jaccard, normalise, shingles

    def exact(text: str) -> float:
        return max(s if (s := jaccard(shingles(normalise(text)), shingles(normalise(o)))) >= 0.7 else 0.0 for o in theirs)

    assert nearest_similarity(ours, theirs, 0.7) == [exact(text) for text in ours]

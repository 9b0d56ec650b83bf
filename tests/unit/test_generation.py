"""Generated rows: true to their output, traceable to their parents, repeatable, and never close to held-out rows."""

import random

import pytest

from pp_assets.data.generation.cues import learn_cues
from pp_assets.data.generation.damage import CASES, DAMAGE, scanned
from pp_assets.data.generation.grid import Grid, entropy
from pp_assets.data.generation.made import as_row
from pp_assets.data.generation.methods import OFFLINE, Source
from pp_assets.data.generation.run import Options, generate
from pp_assets.data.generation.slots import sentences, values_of
from pp_assets.data.generation.synonyms import unavailable
from pp_assets.data.leakage import HeldOut, leaks, nearest_similarity
from pp_assets.data.noise import no_punctuation, spans_of, typos
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
    row("a", "Please book 12 euro for the coffee today. It was urgent.", "EUR", "12 euro", "coffee"),
    row("b", "Refund me 7,50 euro, the umbrella broke again.", "EUR", "7,50 euro", "umbrella"),
    row("c", "I paid $40 at the station for a train ticket.", "USD", "$40", "train ticket"),
    row("d", "Taxi and lunch in Lyon, 55 euro in all", "EUR", "55 euro", "Taxi", "lunch"),
    row("e", "Nothing to claim this week, thanks!", "EUR", None),
]


def made(per_seed: int = 6, seed: int = 3, held: HeldOut = NOBODY, rows: list[Example] = ROWS, **options):
    return generate(SCHEMA, rows, held, Options(per_seed=per_seed, seed=seed, **options))


def test_every_generated_row_is_valid_and_its_values_stand_in_its_input() -> None:
    found = made()
    assert len(found.rows) > 10
    for g in found.rows:
        assert output_validator(SCHEMA).is_valid(g.example.output)
        assert not not_verbatim(SCHEMA, g.example.output, g.example.input_text)


def test_a_row_can_be_made_again_from_its_parents_method_and_seed() -> None:
    source, parents = Source(SCHEMA, ROWS), {r.item_id: r for r in ROWS}
    for g in made(per_seed=10).rows:
        parent = parents[g.parent]
        again = OFFLINE[g.method](source, parent, random.Random(g.seed))
        assert again and as_row(source.schema, parent, again, g.method, g.seed) == g
        assert g.params and set(g.parents) <= parents.keys()
        assert (g.example.group, g.example.source_id) == (parent.group, parent.source_id), "it must stay on its parent's side of a split"


def test_values_and_sentences_only_move_between_rows_that_agree_in_everything_else() -> None:
    """A dollar amount in a euro row would make the currency wrong."""
    source = Source(SCHEMA, ROWS)
    assert [value for value, _ in source.donors(ROWS[0], source.fields[0])] == ["12 euro", "55 euro", "7,50 euro"]
    moved = made(per_seed=20, methods=("recombination", "composition")).rows
    assert {g.method for g in moved} == {"recombination", "composition"}
    for g in moved:
        assert ("$" in g.example.input_text) == (g.example.output["currency"] == "USD")


def test_noise_leaves_the_output_as_it_is_and_letter_case_changes_it_with_the_text() -> None:
    outputs = {r.item_id: r.output for r in ROWS}
    found = made(per_seed=10, methods=("noise", "casing")).rows
    noisy = [g for g in found if g.method == "noise"]
    cased = [g for g in found if g.method == "casing" and g.params["kind"] == "upper"]
    assert noisy and all(g.example.output == outputs[g.parent] for g in noisy)
    assert cased and all(g.example.input_text == g.example.input_text.upper() for g in cased)
    assert any(g.example.output["items"] for g in cased)
    assert all(item == item.upper() for g in cased for item in g.example.output["items"])


def test_numbers_change_in_text_and_output_and_keep_their_size() -> None:
    found = made(per_seed=10, methods=("numbers",)).rows
    assert found
    for g in found:
        old, new = g.params["changes"][0]["from"], g.params["changes"][0]["to"]
        assert new == g.example.output["amount"] and old not in g.example.input_text and len(old) == len(new)
    schema = {"type": "object", "properties": {"people": {"type": "integer"}}}
    rows = [Example(str(n), f"a table for {n} at the window", {"people": n}, None, str(n)) for n in (2, 4, 6)]
    other = generate(schema, rows, NOBODY, Options(per_seed=3, methods=("numbers",))).rows
    assert other and all(f"for {g.example.output['people']} at" in g.example.input_text for g in other)


def test_arrays_stay_in_the_order_of_the_text() -> None:
    for g in made(per_seed=30, methods=("composition", "reordering")).rows:
        items = g.example.output["items"]
        assert items == sorted(items, key=g.example.input_text.find)


def test_the_same_seed_gives_the_same_rows_in_any_order_of_parents() -> None:
    forward = [g.example.item_id for g in made().rows]
    assert forward == [g.example.item_id for g in made(rows=ROWS[::-1]).rows]
    assert set(forward) != {g.example.item_id for g in made(seed=4).rows}


def test_rows_close_to_held_out_rows_are_dropped_and_counted_at_their_stage() -> None:
    held = HeldOut([r.input_text for r in ROWS], frozenset(), frozenset())
    found = made(held=held, near=0.6)
    stages = {s["stage"]: s for s in found.yields}
    assert stages["held-out rows"]["dropped"]["close to a held-out row"] > 0
    assert not any(nearest_similarity([g.example.input_text for g in found.rows], held.texts, 0.6))
    left = [s["left"] for s in found.yields]
    assert left == sorted(left, reverse=True) and left[-1] == len(found.rows)
    for before, after in zip(found.yields, found.yields[1:]):
        assert before["left"] - after["left"] == sum(after["dropped"].values()), after


def test_a_value_that_stands_twice_is_not_exchanged() -> None:
    twice = row("x", "12 euro, yes 12 euro, for the coffee today", "EUR", "12 euro", "coffee")
    found = made(per_seed=6, rows=[twice, *ROWS], methods=("recombination", "numbers"))
    changed = [c["field"] for g in found.rows if g.parent == "x" for c in g.params["changes"]]
    assert changed and "amount" not in changed


def test_unmarked_strings_count_as_copied_only_when_all_values_stand_in_their_inputs() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    rows = [Example(str(i), f"from {c} please", {"city": c}, None, str(i)) for i, c in enumerate(["Rome", "Oslo", "Bern", "Riga", "Lyon"])]
    assert [f.path for f in Source(schema, rows).fields] == ["city"]
    rows.append(Example("9", "from the capital of Spain", {"city": "Madrid"}, None, "9"))
    assert not Source(schema, rows).fields


URGENT = {"type": "object", "properties": {"kind": {"enum": ["x"]}, "call": {"type": "boolean"}}}


def cued() -> list[Example]:
    said = [(f"My parcel number {i} has arrived. Please call me back.", True) for i in range(12)]
    said += [(f"My parcel number {i} has arrived. All is well with box {i}.", False) for i in range(40)]
    return [Example(f"{i:02}", text, {"kind": "x", "call": call}, None, str(i)) for i, (text, call) in enumerate(said)]


def test_a_boolean_is_flipped_only_where_the_rows_show_what_tells_it() -> None:
    assert "call me" in learn_cues("call", cued()).words and learn_cues("call", cued()).needed
    found = generate(URGENT, cued(), NOBODY, Options(per_seed=3, methods=("flipped_cue",))).rows
    assert {g.params["kind"] for g in found} == {"cue put in", "cue taken away"}
    assert all(("call me" in g.example.input_text) == g.example.output["call"] for g in found)
    mute = [Example(e.item_id, "nothing here tells it", e.output, None, e.group) for e in cued()]
    assert not generate(URGENT, mute, NOBODY, Options(per_seed=3, methods=("flipped_cue",))).rows


def test_the_emptiest_cells_grow_most() -> None:
    grid = Grid(Source(URGENT, cued()))
    order = list(grid.attempts(100))
    assert [grid.counts[cell] for cell in order] == sorted(grid.counts.values())
    shares = [n / grid.counts[cell] for cell, n in grid.attempts(1000).items()]
    assert shares[0] > shares[-1] and sum(grid.attempts(1000).values()) == 1000
    table = grid.table({})
    assert table["covered_before"] == len(grid.counts) and sum(c["written"] for c in table["rows"]) == 52
    assert table["cells"] == table["covered_before"] + sum(table["empty_by_label"].values())
    assert entropy([5, 5]) == 1.0 and entropy([]) is None


def test_a_rejected_row_never_comes_back() -> None:
    first = made().rows
    again = generate(SCHEMA, ROWS, NOBODY, Options(per_seed=6, seed=3), rejected=frozenset({first[0].example.item_id}))
    assert first[0].example.item_id not in {g.example.item_id for g in again.rows}
    assert {g.example.item_id for g in first[1:]} <= {g.example.item_id for g in again.rows}


def test_a_method_that_cannot_be_used_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("PP_WORDNET", str(tmp_path))
    found = made(methods=("synonyms", "noise"))
    assert "wordnet-base" in found.skipped["synonyms"] and {g.method for g in found.rows} == {"noise"}


@pytest.mark.skipif(bool(unavailable()), reason="WordNet's data files are not installed")
def test_synonyms_that_change_the_meaning_are_dropped_by_cosine() -> None:
    import numpy as np

    rows = [Example("1", "my salary vanished in this country", {"city": "x"}, None, "1")]
    far = generate(
        {"type": "object"},
        rows,
        NOBODY,
        Options(per_seed=3, methods=("synonyms",)),
        embed=lambda texts: np.eye(len(texts), dtype=np.float32),
    )
    near = generate(
        {"type": "object"}, rows, NOBODY, Options(per_seed=3, methods=("synonyms",)), embed=lambda texts: np.ones((len(texts), 1))
    )
    assert not far.rows and near.rows


def test_generated_rows_survive_the_file(tmp_path) -> None:
    rows = made().rows
    write_generated(tmp_path / "g.parquet", rows)
    write_generated(tmp_path / "again.parquet", rows)
    assert read_generated(tmp_path / "g.parquet") == rows
    assert (tmp_path / "g.parquet").read_bytes() == (tmp_path / "again.parquet").read_bytes()


@pytest.mark.parametrize("kind", sorted(DAMAGE))
def test_damage_never_touches_a_protected_value(kind: str) -> None:
    text = "Send the Blue Kettle, order AB.12, to Anna Berg. Thanks!"
    keep = spans_of(text, ["Blue Kettle", "AB.12", "Anna Berg"])
    for seed in range(50):
        noisy = DAMAGE[kind](text, keep, random.Random(seed))
        assert all(value in noisy for value in ("Blue Kettle", "AB.12", "Anna Berg"))


def test_kinds_of_damage_do_what_they_say() -> None:
    free = [False] * 100
    assert no_punctuation("Well, 3.5 is ok!", free, random.Random(0)) == "Well 3.5 is ok"
    assert typos("1234 !!", free, random.Random(0)) == "1234 !!"
    assert typos("some longer words here", free, random.Random(1)) != "some longer words here"
    assert scanned("Oslo", free, random.Random(2)) in ("0slo", "Os1o", "Osl0")
    for kind, change in CASES.items():
        text = change(7)("Two words, ß and 2")
        assert text.casefold() == "two words, ß and 2".casefold() and len(text) == 18, kind
    assert CASES["mixed"](7)("letters") in CASES["mixed"](7)("some letters here"), "a value must change as the text around it does"


def test_sentences_are_found_whole() -> None:
    text = "Hello Anna,\nit cost 3.50 euro! Why? See a.b.c please\n\nJo"
    assert [text[a:b] for a, b in sentences(text)] == ["Hello Anna,", "it cost 3.50 euro!", "Why?", "See a.b.c please", "Jo"]


def test_values_are_found_in_nested_objects_and_arrays() -> None:
    assert values_of({"a": {"b": ["x", "y"]}}, "a.b") == ["x", "y"]
    assert values_of({"a": {"b": None}}, "a.b") == []


def test_leaks_are_counted_by_kind() -> None:
    held = HeldOut(["Please book 12 euro for the coffee today. It was urgent!"], frozenset({"b"}), frozenset({"g-c"}))
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

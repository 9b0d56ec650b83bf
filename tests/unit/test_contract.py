"""Contracts: two forms, one meaning; every kind of rule; gates; what is done with scores of 0 and with none."""

import json
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pp_assets.task.contract import aggregate
from pp_assets.task.contract.rules import Row, grounded, of_format, overlap
from pp_assets.task.contract.score import score_rows, score_stream
from pp_assets.task.contract.spec import KINDS, Contract, Questions, parse_contract, to_flat, to_tree
from pp_resources.errors import UserError

SCHEMA = {
    "type": "object",
    "properties": {
        "topic": {"type": "string", "enum": ["bill", "parcel"]},
        "amount": {"type": ["number", "null"]},
        "names": {"type": "array", "items": {"type": "string"}},
        "when": {"type": ["string", "null"], "format": "date"},
    },
    "required": ["topic"],
    "additionalProperties": False,
}
OK = {"topic": "bill", "amount": 12.5, "names": ["Ann"], "when": "2025-04-03"}
TEXT = "Ann was billed 12.50 on 3 April 2025"


def contract(*nodes: dict[str, Any], **more: Any) -> Contract:
    made = [{"label": f"n{i}", **node} for i, node in enumerate(nodes)]
    return parse_contract({"output_schema": SCHEMA, "dimensions": [{"label": "d", "sub_dimensions": made}], **more}, "test")


def score(node: dict[str, Any], output: Any, text: str = TEXT, label: Any = None) -> float | str:
    found = score_rows(contract(node), [Row(text, output, label)])
    value = found.node("d/n0")[0]
    return found.reasons[0]["d/n0"] if math.isnan(value) else float(value)


labels = st.text("abcde XYZ.-ä", min_size=1, max_size=6).filter(lambda s: s.strip() == s)
shares = st.floats(0, 1)
words = st.text("ab c?", max_size=5)
maps = st.none() | st.lists(shares, min_size=2, max_size=4, unique=True).map(lambda xs: [[x, x] for x in sorted(xs)])
gates = st.none() | st.fixed_dictionaries({"label": labels, "kind": st.just("schema"), "at": shares, "on_low": st.booleans()})
nodes = st.fixed_dictionaries(
    {
        "label": labels,
        "weight": st.floats(0.1, 9),
        "hard_gate": st.none() | shares,
        "map": maps,
        "gate": gates,
        "lower_is_better": st.booleans(),
    }
)
headings = st.fixed_dictionaries(
    {"label": labels, "weight": st.floats(0.1, 9), "map": maps, "gate": gates, "aggregation": st.sampled_from([None, "harmonic"])}
)


@st.composite
def trees(draw: Any) -> Contract:
    flat = draw(st.booleans())
    dimensions = []
    for label in draw(st.lists(labels, min_size=1, max_size=3, unique=True)):
        below = draw(st.lists(nodes, min_size=1, max_size=3, unique_by=lambda n: n["label"]))
        rest = {} if flat else draw(headings) | {"description": draw(words)}
        dimensions.append({**rest, "label": label, "sub_dimensions": [{**n, "description": draw(words)} for n in below]})
    raw = {"name": draw(words), "aggregation": draw(st.sampled_from(["arithmetic", "geometric"])), "flat": flat, "dimensions": dimensions}
    return parse_contract(raw, "test")


@given(trees())
def test_the_two_forms_are_one_contract(tree: Contract) -> None:
    flat = to_flat(tree)
    assert to_tree(flat) == tree and to_flat(to_tree(flat)) == flat
    # Also through a file.
    assert (
        parse_contract(json.loads(json.dumps(flat.plain())), "file") == tree == parse_contract(json.loads(json.dumps(tree.plain())), "file")
    )


def test_flat_questions_are_weighed_against_each_other_and_tags_are_headings() -> None:
    asked = [{"label": "a", "tag": "one"}, {"label": "b", "tag": "two", "weight": 2.0}, {"label": "c", "tag": "one"}]
    flat = Questions.model_validate({"questions": asked})
    assert [q.label for q in flat.questions] == ["a", "c", "b"] and to_tree(flat).flat
    raw = np.array([[0.0, 1.0, 1.0]])
    none = np.zeros((1, 3), bool)
    from pp_assets.task.contract.score import aggregate as total

    assert total(to_tree(flat), raw, none, none[:, :2], [{}]).total[0] == pytest.approx(3 / 4)
    levels = to_tree(Questions.model_validate({"questions": asked, "tags": [{"label": "one"}, {"label": "two"}]}))
    assert total(levels, raw, none, none[:, :2], [{}]).total[0] == pytest.approx(0.75) and not levels.flat
    # Where a score is missing, a level gives its weight to what is left of it.
    raw[0, 0] = np.nan
    assert total(levels, raw * [1, 0, 1], none, none[:, :2], [{}]).total[0] == pytest.approx(1 / 2)
    assert total(to_tree(flat), raw * [1, 0, 1], none, none[:, :2], [{}]).total[0] == pytest.approx(2 / 3)


@pytest.mark.parametrize("line", re.findall(r"^\| (arithmetic|geometric|harmonic) (.*)\|$", str(aggregate.__doc__), re.MULTILINE))
def test_the_table_of_aggregations_is_what_happens(line: tuple[str, str]) -> None:
    cells = [None if cell.strip() == "none" else float(cell) for cell in line[1].strip("| ").split("|")]
    pairs = [(1, 0.5), (1, 0), (0, 0), (1, np.nan), (np.nan, np.nan)]
    assert len(cells) == len(pairs)
    for pair, wanted in zip(pairs, cells):
        found = aggregate.combine(np.array([pair], float), np.array([3.0, 3.0]), line[0])[0]
        assert math.isnan(found) if wanted is None else found == pytest.approx(wanted, abs=5e-5)


@given(st.lists(st.tuples(shares, st.floats(0, 5)), min_size=1, max_size=5))
def test_means_lie_in_their_order_and_between_the_ends(pairs: list[tuple[float, float]]) -> None:
    scores, weights = np.array([[s for s, _ in pairs]]), np.array([w for _, w in pairs])
    found = [aggregate.combine(scores, weights, how)[0] for how in ("harmonic", "geometric", "arithmetic")]
    if not weights.sum():
        assert all(map(math.isnan, found))
        return
    counted = scores[0][weights > 0]
    assert (
        counted.min() - 1e-7 <= found[0]
        and found[0] <= found[1] + 1e-7
        and found[1] <= found[2] + 1e-7
        and found[2] <= counted.max() + 1e-7
    )


@pytest.mark.parametrize(
    ("node", "output", "wanted"),
    [
        ({"kind": "schema"}, OK, 1),
        ({"kind": "schema"}, {"topic": "beer"}, 0),
        ({"kind": "schema"}, "no JSON", 0),
        ({"kind": "schema"}, None, "no output"),
        ({"kind": "enum", "field": "topic", "values": ["bill"]}, OK, 1),
        ({"kind": "enum", "field": "amount", "values": [1]}, {"amount": True}, 0),
        ({"kind": "enum", "field": "topic", "values": ["bill"]}, {}, "the field is absent"),
        ({"kind": "enum", "field": "topic", "values": ["bill"]}, "no JSON", 0),
        ({"kind": "enum", "field": "names", "values": ["Ann"]}, {"names": ["Ann", "Bob"]}, 0.5),
        ({"kind": "range", "field": "amount", "minimum": 13}, OK, 0),
        ({"kind": "range", "field": "amount", "maximum": 13}, OK, 1),
        ({"kind": "range", "field": "amount", "maximum": 13}, {"amount": None}, "the field is null"),
        ({"kind": "regex", "field": "names", "pattern": "^A"}, {"names": ["Ann", "Bob"]}, 0.5),
        ({"kind": "length", "field": "names", "minimum": 2}, OK, 0),
        ({"kind": "length", "field": "topic", "maximum": 4}, OK, 1),
        ({"kind": "format", "field": "when", "format": "date"}, OK, 1),
        ({"kind": "format", "field": "when", "format": "date"}, {"when": "3.4.2025"}, 0),
        ({"kind": "grounding", "field": "amount"}, OK, 1),
        ({"kind": "grounding", "field": "amount"}, {"amount": 13}, 0),
        ({"kind": "grounding", "field": "when"}, OK, 1),
        ({"kind": "grounding", "field": "when"}, {"when": "2025-04-04"}, 0),
        ({"kind": "grounding", "field": "names"}, {"names": ["ann", "Bob"]}, 0.5),
        ({"kind": "grounding", "field": "names"}, {"names": []}, "nothing in the list"),
        ({"kind": "forbidden"}, OK, 1),
        ({"kind": "forbidden"}, OK | {"why": "so"}, 0),
        ({"kind": "forbidden", "keys": ["names", "why"]}, OK, 0),
        ({"kind": "python", "scorer": "contract_scorers:long", "kwargs": {"at_least": 5}}, OK, 1),
        ({"kind": "python", "scorer": "contract_scorers:four"}, OK, 0.25),
        ({"kind": "python", "scorer": "contract_scorers:wrong"}, OK, "contract_scorers:wrong gave 7, not a number of 0 to 1"),
        ({"kind": "python", "scorer": "contract_scorers:fails"}, OK, "contract_scorers:fails failed (ValueError: oh)"),
        ({"kind": "judge"}, OK, "no provider is set"),
        ({"kind": "semantic"}, OK, "no encoder was given"),
        ({"kind": "schema", "lower_is_better": True}, OK, 0),
    ],
)
def test_each_kind_scores_or_says_why_not(node: dict[str, Any], output: Any, wanted: float | str) -> None:
    assert score(node, output) == wanted
    if not isinstance(output, str | None):
        assert score(node, json.dumps(output)) == wanted, "text that is JSON counts as what it says"


def test_every_kind_is_tried_above() -> None:
    tried = test_each_kind_scores_or_says_why_not.pytestmark[0].args[1]
    assert {case[0]["kind"] for case in tried} | {"match"} == set(KINDS)


def test_a_label_is_matched_by_the_rules_of_its_field_and_in_part() -> None:
    said = {"topic": "bill", "names": ["Bob", "Ann"], "amount": 1.0}
    expected = {"topic": "BILL", "names": ["Ann", "Bob", "Cy"], "amount": 1}
    assert score({"kind": "match", "field": "topic"}, said, label=expected) == 0
    assert score({"kind": "match", "field": "topic", "compare": "casefold"}, said, label=expected) == 1
    assert score({"kind": "match", "field": "amount"}, said, label=expected) == 1
    assert score({"kind": "match", "field": "names", "compare": "partial"}, said, label=expected) == pytest.approx(0.8)
    assert score({"kind": "match"}, OK, label=dict(reversed(OK.items()))) == 1
    assert score({"kind": "match"}, OK) == "no label"
    assert overlap("the red car", "a red car") == pytest.approx(2 / 3) and overlap([], None) == 1 and overlap(1, 2) == 0


def test_a_value_is_found_however_the_text_writes_it() -> None:
    assert [grounded(v, "two dozen for €1.250, or €2") for v in (24, 1250, 1.25, 3)] == [1, 1, 1, 0]
    assert grounded("17:30", "at half past five in the afternoon", "time") == 1 and grounded("  ÄRGER", "ein ärger") == 1
    assert of_format("2025-02-30", "date") is False and of_format("a@b.de", "email") and of_format("https://a.b/c", "uri")


def test_a_gate_opens_a_node_on_high_or_on_low_scores() -> None:
    gate = {"label": "g", "kind": "enum", "field": "topic", "values": ["bill"]}
    node = {"kind": "range", "field": "amount", "maximum": 1}
    made = contract({**node, "gate": gate}, {**node, "gate": gate | {"on_low": True}}, {"kind": "schema"})
    found = score_rows(made, [Row(TEXT, OK), Row(TEXT, OK | {"topic": "parcel"}), Row(TEXT, {"amount": 1})])
    assert np.array_equal(found.nodes[:2, :2], [[0, np.nan], [np.nan, 0]], equal_nan=True)
    assert found.total.tolist() == [0.5, 0.5, 0.0]
    assert found.reasons[0] == {"d/n1": "its gate 'g' is shut"} and found.coverage[0] == pytest.approx(2 / 3)
    # A gate that cannot be scored is shut either way.
    assert np.isnan(found.nodes[2, :2]).all()


def test_a_hard_gate_decides_all_and_leaves_nothing_decided_where_it_has_no_score() -> None:
    made = contract({"kind": "schema", "hard_gate": 0.5}, {"kind": "enum", "field": "topic", "values": ["bill"]})
    found = score_rows(made, [Row(TEXT, OK), Row(TEXT, OK | {"more": 1}), Row(TEXT, None)])
    assert found.total[:2].tolist() == [1, 0] and math.isnan(found.total[2])
    assert found.reasons[2]["total"] == "the hard gate d/n0 has no score"
    row = found.row(1)
    assert row["total"] == 0 and row["dimensions"]["d"] == {"score": 0.5, "sub_dimensions": {"n0": 0.0, "n1": 1.0}}
    assert score_rows(contract({"kind": "judge"}), [Row("", "")]).row(0)["reasons"]["total"]


def test_maps_are_applied_and_a_stream_scores_as_the_whole() -> None:
    made = contract({"kind": "enum", "field": "names", "values": ["Ann"], "map": [[0.0, 0.2], [0.5, 0.4], [1.0, 0.4]]})
    rows = [Row(TEXT, {"names": ["Ann"] * (i % 5) + ["Bob"]}) for i in range(4100)]
    whole = score_rows(made, rows)
    assert whole.nodes[:2, 0].tolist() == pytest.approx([0.2, 0.4])
    assert np.array_equal(whole.total, np.concatenate([part.total for part in score_stream(made, iter(rows))]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "enum", "fields": "topic", "values": [1]}, "d.s.0.fields: unknown key 'fields'.*did you mean 'field'"),
        ({"kind": "regexp"}, "kind: 'regexp' is not one of the allowed values; did you mean 'regex'"),
        ({"kind": "enum", "field": "a"}, "values: kind 'enum' needs it"),
        ({"kind": "schema", "pattern": "x"}, "pattern: is no setting of kind 'schema'"),
        ({"kind": "regex", "field": "a", "pattern": "("}, "is no regular expression"),
        ({"kind": "range", "field": "a"}, "needs minimum, maximum or both"),
        ({"kind": "python", "scorer": "os.system('x')"}, "is not module:function"),
        ({"map": [[0.0, 0.5], [1.0, 0.4]]}, "never fall"),
        ({"weight": -1.0}, "greater than or equal to 0"),
        ({"weight": 0.0}, "all weights are 0"),
        ({"label": "a/b"}, "label"),
    ],
)
def test_a_fault_is_told_with_its_place_and_the_nearest_word(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as error:
        contract(change)
    assert re.search(words.removeprefix("d.s.0."), str(error.value)) and str(error.value).startswith("test: dimensions.0")


def test_meaning_is_compared_with_label_or_input() -> None:
    from pp_resources.models.bases import MINILM, find_base
    from pp_resources.models.embedder import Embedder

    made = contract({"kind": "semantic", "field": "topic"}, {"kind": "semantic", "against": "input"})
    rows = [
        Row("The parcel is late", {"topic": "bill"}, {"topic": "invoice"}),
        Row("The parcel is late", {"topic": "bill"}, {"topic": "zebra"}),
    ]
    found = score_rows(made, [*rows, Row("a", "a")], embedder=Embedder(find_base(MINILM)))
    assert found.nodes[0, 0] > 0.5 > found.nodes[1, 0] and found.nodes[2, 1] == pytest.approx(1, abs=1e-5)
    assert found.reasons[2] == {"d/n0": "no label"}

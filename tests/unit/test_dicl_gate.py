"""The quality gate for worked examples: each rule with a case that would pass without it."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pp_assets.prompts.dicl.candidates import Candidate, text_of
from pp_assets.prompts.dicl.gate import LEAK, Findings, Rules, judge

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["team"],
    "properties": {"team": {"enum": ["delivery", "billing"]}, "order": {"type": ["string", "null"], "x-verbatim": True}},
}


def embed(texts: Sequence[str]) -> np.ndarray:
    """Words, each with a direction of its own; a text is their sum."""
    rows = []
    for text in texts:
        words = text.lower().replace("?", "").split() or ["nothing"]
        rows.append(sum(np.random.default_rng(list(word.encode())).normal(size=64) for word in words))
    found = np.array(rows, dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def candidate(text: str, team: str = "delivery", origin: Any = "row", at: int = 0, **more: Any) -> Candidate:
    return Candidate(text, text_of(SCHEMA, {"team": team, **more}), origin, (f"p-{text[:5]}",), at)


def verdicts(candidates: list[Candidate], rules: Rules | None = None, **found: Any) -> list[str]:
    """The reasons, in the order of the candidates."""
    vectors = embed([one.input_text for one in candidates])
    reasons = judge(SCHEMA, candidates, vectors, Findings(found.pop("scores", {}), **found), rules or Rules())
    return [reasons[one.key] for one in candidates]


def test_what_is_wrong_by_itself_is_refused_with_the_reason() -> None:
    good, bad_label = candidate("where is my parcel"), candidate("where is the van", "shipping")
    copied, no_json = candidate("my order is late", order="A-7"), Candidate("who are you", "no JSON", "feedback", ())
    noise = candidate("%&/()=?§$%&/()")
    low, lower = candidate("a model said this", origin="feedback"), candidate("a person said that", origin="demonstration")
    many = [good, bad_label, copied, no_json, noise, low, lower]
    reasons = verdicts(many, scores={low.key: 0.4, lower.key: 0.4}, leaking={}, bad={})
    refused = ["", "against the schema", "a copied value is not in the input", "against the schema", "hardly any letters"]
    assert reasons == [*refused, "contract score below 0.5", ""]
    assert verdicts([good], leaking={good.key}, forced={good.key}) == [LEAK]
    assert verdicts([good], bad={good.key: 5}) == ["called bad later"]
    praised = candidate("where is my parcel", origin="feedback", at=9)
    assert verdicts([praised], bad={praised.key: 5}) == [""]


def test_duplicates_give_way_to_who_knows_better() -> None:
    row, person = candidate("Where is my parcel?"), candidate("where is my parcel", "billing", "demonstration", 3)
    other, later = candidate("where is my van"), candidate("is my van where", origin="demonstration", at=7)
    reasons = verdicts([row, person, other, later])
    assert reasons == [f"another output for nearly the input of {person.key[:8]}", "", f"a near duplicate of {later.key[:8]}", ""]
    assert verdicts([row, candidate("WHERE is my parcel?")]).count("") == 1
    assert verdicts([candidate("order 17 is late"), candidate("order 18 is late")]) == ["", ""]


def test_what_a_person_took_out_stays_out_with_its_copies_and_what_was_put_back_stays() -> None:
    out, copy = candidate("where is my parcel"), candidate("my parcel is where")
    corrected = candidate("is my parcel where", "billing")
    assert verdicts([out, copy, corrected], blocked={out.key}) == [
        "a person took it out",
        f"a near duplicate of {out.key[:8]}, which a person took out",
        "",
    ]
    assert verdicts([out, copy], forced={copy.key}) == [f"a near duplicate of {copy.key[:8]}", ""]


def rows_of_two_labels(wrong: int) -> list[Candidate]:
    draw = random.Random(0)
    words = {"delivery": ["parcel", "driver", "van", "late", "door"], "billing": ["invoice", "refund", "card", "charge", "bank"]}
    found = [candidate(" ".join(draw.sample(words[team], 3)) + f" case {i}", team) for i in range(40) for team in words]
    return found + [candidate(f"invoice refund bank charge {i}", "delivery") for i in range(wrong)]


def test_a_label_that_all_neighbours_deny_is_refused() -> None:
    reasons = verdicts(rows_of_two_labels(1))
    assert reasons[-1] == 'its neighbours say team: "billing", it says "delivery"' and not any(reasons[:-1])
    assert verdicts(rows_of_two_labels(1)[-1:]) == [""], "without neighbours nothing is contradicted"


def test_caps_keep_what_is_least_alike() -> None:
    texts = ["where is my parcel now", "where is my parcel today", "the van broke a window", "what does shipping cost abroad"]
    many = [candidate(text) for text in texts] + [candidate("wrong invoice total", "billing")]
    reasons = verdicts(many, Rules(per_label=3))
    assert sorted(map(bool, reasons[:2])) == [False, True] and not any(reasons[2:])
    assert verdicts(many, Rules(total=1, per_label=1)).count("") == 1
    assert verdicts(many, Rules(per_label=1), forced={one.key for one in many[:2]}) == [
        "",
        "",
        *["one of the most redundant of too many"] * 2,
        "",
    ]


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_verdicts_do_not_depend_on_the_order(draw: random.Random) -> None:
    texts = ["where is my parcel", "Where is my parcel?", "hello where is my parcel", "my invoice", "the invoice is wrong", "a card charge"]
    many = {
        one.key: one
        for text in texts
        for team in ("delivery", "billing")
        for one in [candidate(text, team, draw.choice(["row", "feedback"]))]
    }
    expected = dict(zip(many, verdicts(list(many.values()), Rules(per_label=2))))
    mixed = list(many.values())
    draw.shuffle(mixed)
    assert dict(zip([one.key for one in mixed], verdicts(mixed, Rules(per_label=2)))) == expected

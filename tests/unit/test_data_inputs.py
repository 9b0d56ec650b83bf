"""Verdicts on inputs, on small real embeddings and texts."""

import numpy as np
import pytest

from pp_assets.data.evaluate import evaluate_inputs, label_agreement, letters_share, summary
from pp_assets.data.neighbours import Near, near_written
from pp_assets.data.novelty import novelty
from pp_assets.task.examples import Example
from pp_assets.task.spec import Inputs

SCHEMA = {"type": "object", "required": ["kind"], "properties": {"kind": {"enum": ["billing", "delivery"]}}}


def examples(n: int = 12) -> list[Example]:
    rows = [Example(f"b{i}", f"please refund the second charge number {i}", {"kind": "billing"}, None, f"gb{i}") for i in range(n)]
    return rows + [Example(f"d{i}", f"where is parcel {i} it never arrived", {"kind": "delivery"}, None, f"gd{i}") for i in range(n)]


def unit(rows: list[Example]) -> np.ndarray:
    """Embeddings by label, with a little noise: neighbours agree."""
    rng = np.random.default_rng(1)
    base = np.array([[1.0, 0.0] if r.output.get("kind") == "billing" else [0.0, 1.0] for r in rows])
    found = (base + 0.05 * rng.normal(size=base.shape)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def near(rows: list[Example], vectors: np.ndarray, written: int | None = None) -> Near:
    return near_written(vectors, [row.group or row.item_id for row in rows], len(rows) if written is None else written)


def test_sound_rows_are_kept_with_a_high_score() -> None:
    rows = examples()
    found = evaluate_inputs(SCHEMA, rows, [], near(rows, unit(rows)))
    assert all(one.keep and one.score > 0.9 and one.reason == "" for one in found)
    assert summary(found)["kept_written"] == 24 and summary(found)["dropped"] == 0


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (Example("x", "please refund the second charge number 0", {"kind": "billing"}), "a repetition of an earlier row"),
        (Example("x", "please send it", {"kind": "sales"}), "not schema-valid"),
        (Example("x", "%%% $$$ ### @@@ !!! ???", {"kind": "billing"}), "hardly any letters"),
        (Example("x", "broken \ufffd text", {"kind": "billing"}), "hardly any letters"),
    ],
)
def test_a_hard_failure_drops_a_row_and_says_why(bad: Example, reason: str) -> None:
    rows = [*examples(), bad]
    last = evaluate_inputs(SCHEMA, rows, [], near(rows, unit(rows)))[-1]
    assert (last.keep, last.score, last.reason) == (False, 0.0, reason)


def test_a_written_row_that_its_neighbours_contradict_is_kept_and_marked() -> None:
    rows = examples()
    odd = Example("odd", "refund the charge or I call my bank", {"kind": "delivery"}, None, "go")
    vectors = np.vstack([unit(rows), [[1.0, 0.0]]]).astype(np.float32)
    last = evaluate_inputs(SCHEMA, [*rows, odd], [], near([*rows, odd], vectors))[-1]
    assert last.keep and last.checks["agreement"] == 0.0 and last.score < 0.8


def test_a_generated_row_with_another_answer_to_a_known_input_is_dropped() -> None:
    rows = examples()
    made = Example("m", rows[0].input_text.upper(), {"kind": "delivery"}, None, "gb0")
    both = [*rows, made]
    last = evaluate_inputs(SCHEMA, rows, [made], near(both, unit(both), len(rows)))[-1]
    assert last.kind == "generated" and not last.keep and "another output" in last.reason


def test_neighbours_of_the_same_group_do_not_vouch_for_a_row() -> None:
    """Copies of one situation agree with each other, which says nothing."""
    rows = [Example(f"c{i}", f"text {i}", {"kind": "billing"}, None, "one") for i in range(6)]
    rows += [Example(f"o{i}", f"other {i}", {"kind": "delivery"}, None, f"o{i}") for i in range(6)]
    vectors = np.ones((12, 2), dtype=np.float32)
    assert label_agreement(SCHEMA, rows, 12, near(rows, vectors))[:6] == [0.0] * 6


def test_scripts_other_than_latin_are_readable() -> None:
    assert letters_share("где мой заказ") == 1.0 and letters_share("私の注文はどこですか") == 1.0


def test_thresholds_of_the_task_decide_for_each_kind_and_the_reason_names_them() -> None:
    rows = examples()
    made = [Example(f"m{i}", f"refund me charge {i} again please", {"kind": "billing"}, None, f"gb{i}") for i in range(4)]
    n = len(rows) + len(made)
    measured = {
        "contract": np.array([1.0] * (n - 4) + [0.2, 1.0, 1.0, np.nan]),
        "novelty": np.array([0.99] + [0.5] * (n - 5) + [0.5, 0.99, 0.5, np.nan]),
        "difficulty": np.array([0.9] * (n - 2) + [0.9, 0.0]),
    }
    found_near = near([*rows, *made], unit([*rows, *made]), len(rows))
    limits = Inputs.model_validate({"generated": {"min_contract": 0.5, "max_novelty": 0.95, "max_difficulty": 0.7}})
    found = evaluate_inputs(SCHEMA, rows, made, found_near, measured=measured, limits=limits)
    assert all(one.keep for one in found[: len(rows)]), "the thresholds are of generated rows"
    assert [one.reason for one in found[len(rows) :]] == ["contract below 0.5", "novelty above 0.95", "difficulty above 0.7", ""]
    assert found[-1].keep and (found[-1].contract, found[-1].novelty) == (None, None), "what cannot be told breaks nothing"
    assert all(one.filter_score == round(1 - one.score, 4) for one in found)
    strict = Inputs.model_validate({"written": {"max_novelty": 0.98}})
    first = evaluate_inputs(SCHEMA, rows, made, found_near, measured=measured, limits=strict)[0]
    assert (first.keep, first.reason) == (False, "novelty above 0.98")


def test_novelty_is_the_share_of_written_rows_that_lie_nearer() -> None:
    rng = np.random.default_rng(0)
    close = rng.normal(size=(60, 3)) * 0.2 + [1, 0, 0]
    vectors = np.vstack([close, [[-1, 0, 0]], close[:1]]).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    groups = [f"g{i}" for i in range(60)] + ["far", "g0"]
    found = novelty(near_written(vectors, groups, 60))
    assert found.shape == (62,) and found[60] == 1.0 and 0.3 < found[:60].mean() < 0.6
    assert found[61] == found[0], "a copy in a row's own group lies where the row lies"
    assert np.isnan(novelty(near_written(vectors, groups, 30))).all(), "too few to tell"

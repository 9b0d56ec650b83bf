"""Topics and verdicts on inputs, on small real embeddings and texts."""

import numpy as np
import pytest

from pp_assets.data.cluster import OUTLIERS, Clustering, cluster, draw_map, topic_terms, topics
from pp_assets.data.evaluate import evaluate_inputs, label_agreement, letters_share, summary
from pp_assets.task.examples import Example

SCHEMA = {"type": "object", "required": ["kind"], "properties": {"kind": {"enum": ["billing", "delivery"]}}}


def examples(n: int = 12) -> list[Example]:
    rows = [Example(f"b{i}", f"please refund the second charge number {i}", {"kind": "billing"}, None, f"gb{i}") for i in range(n)]
    return rows + [Example(f"d{i}", f"where is parcel {i} it never arrived", {"kind": "delivery"}, None, f"gd{i}") for i in range(n)]


def two_blobs(n: int = 40, size: int = 16) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = np.eye(size)[[0, 5]]
    found = np.concatenate([c + 0.05 * rng.normal(size=(n, size)) for c in centres]).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def unit(rows: list[Example]) -> np.ndarray:
    """Embeddings by label, with a little noise: neighbours agree."""
    rng = np.random.default_rng(1)
    base = np.array([[1.0, 0.0] if r.output.get("kind") == "billing" else [0.0, 1.0] for r in rows])
    found = (base + 0.05 * rng.normal(size=base.shape)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_two_separate_groups_become_two_topics_and_the_result_repeats() -> None:
    vectors = two_blobs()
    found = cluster(vectors, seed=0)
    first, second = found.labels[:40], found.labels[40:]
    assert set(first[first >= 0]).isdisjoint(set(second[second >= 0])) and found.labels.max() >= 1
    assert np.array_equal(found.labels, cluster(vectors, seed=0).labels)
    assert found.map.shape == (80, 2) and np.isfinite(found.map).all()


def test_rows_beyond_the_sample_go_where_the_most_similar_row_went() -> None:
    vectors = two_blobs()
    found = cluster(vectors, seed=0, fitted=50)
    first, second = found.labels[:40], found.labels[40:]
    assert len(found.labels) == 80 and set(first[first >= 0]).isdisjoint(set(second[second >= 0]))


def test_few_rows_are_one_topic() -> None:
    found = cluster(two_blobs(5), seed=0)
    assert found.labels.tolist() == [0] * 10
    assert cluster(np.ones((1, 4), dtype=np.float32), seed=0).map.tolist() == [[0.0, 0.0]]


def test_topics_are_named_by_the_words_that_set_them_apart_and_outliers_come_last() -> None:
    rows = examples()
    labels = np.array([0] * 12 + [1] * 11 + [OUTLIERS])
    found = topics([r.input_text for r in rows], [r.item_id for r in rows], unit(rows), labels)
    assert [t["topic"] for t in found] == [0, 1, OUTLIERS]
    assert "refund" in found[0]["terms"] and "parcel" in found[1]["terms"] and found[2]["name"] == "outliers"
    assert [t["size"] for t in found] == [12, 11, 1] and len(found[0]["examples"]) == 3


def test_texts_without_words_still_make_a_topic() -> None:
    assert topic_terms(["12", "!!"], np.array([0, 0])) == {0: []}


def test_the_map_is_a_picture_with_equal_bytes_for_equal_input(tmp_path) -> None:
    found = Clustering(np.array([0, 0, 1, -1]), np.ones(4), np.arange(8, dtype=np.float32).reshape(4, 2))
    named = [{"topic": t, "name": f"topic {t}", "size": 1} for t in (0, 1, -1)]
    for name in ("a.png", "b.png"):
        draw_map(tmp_path / name, found, named)
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_sound_rows_are_kept_with_a_high_score() -> None:
    rows = examples()
    found = evaluate_inputs(SCHEMA, rows, [], unit(rows))
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
    last = evaluate_inputs(SCHEMA, rows, [], unit(rows))[-1]
    assert (last.keep, last.score, last.reason) == (False, 0.0, reason)


def test_a_written_row_that_its_neighbours_contradict_is_kept_and_marked() -> None:
    rows = examples()
    odd = Example("odd", "refund the charge or I call my bank", {"kind": "delivery"}, None, "go")
    vectors = np.vstack([unit(rows), [[1.0, 0.0]]]).astype(np.float32)
    last = evaluate_inputs(SCHEMA, [*rows, odd], [], vectors)[-1]
    assert last.keep and last.checks["agreement"] == 0.0 and last.score < 0.8


def test_a_generated_row_with_another_answer_to_a_known_input_is_dropped() -> None:
    rows = examples()
    made = Example("m", rows[0].input_text.upper(), {"kind": "delivery"}, None, "gb0")
    last = evaluate_inputs(SCHEMA, rows, [made], unit([*rows, made]))[-1]
    assert last.kind == "generated" and not last.keep and "another output" in last.reason


def test_neighbours_of_the_same_group_do_not_vouch_for_a_row() -> None:
    """Copies of one situation agree with each other, which says nothing."""
    rows = [Example(f"c{i}", f"text {i}", {"kind": "billing"}, None, "one") for i in range(6)]
    rows += [Example(f"o{i}", f"other {i}", {"kind": "delivery"}, None, f"o{i}") for i in range(6)]
    vectors = np.ones((12, 2), dtype=np.float32)
    assert label_agreement(SCHEMA, rows, 12, vectors)[:6] == [0.0] * 6


def test_scripts_other_than_latin_are_readable() -> None:
    assert letters_share("где мой заказ") == 1.0 and letters_share("私の注文はどこですか") == 1.0

"""Difficulty: nothing where classifiers agree, much where texts say two things, never from a row's own label or relatives."""

import numpy as np

from pp_assets.data.difficulty import difficulty
from pp_assets.task.examples import Example

SCHEMA = {"type": "object", "properties": {"team": {"type": "string", "enum": ["a", "b"]}}, "required": ["team"]}
WORDS = {"a": "parcel van courier road", "b": "invoice money voucher bank"}


def made(n: int = 120) -> tuple[list[Example], np.ndarray]:
    rng = np.random.default_rng(0)
    rows, vectors = [], []
    for i in range(n):
        team = "ab"[i % 2]
        rows.append(Example(f"r{i:03}", " ".join(rng.permutation(WORDS[team].split())), {"team": team}, group=f"g{i:03}"))
        vectors.append(np.r_[1.0 if team == "a" else -1.0, 0.3 * rng.standard_normal(5)])
    found = np.array(vectors, dtype=np.float32)
    return rows, found / np.linalg.norm(found, axis=1, keepdims=True)


def test_clear_rows_are_easy_and_a_row_that_says_two_things_is_hard() -> None:
    rows, vectors = made()
    easy = difficulty(SCHEMA, rows, [], vectors)
    assert easy.shape == (120,) and easy.max() == 0.0
    # Words of one team, meaning of the other.
    odd = Example("odd", WORDS["b"], {"team": "a"}, group="odd")
    found = difficulty(SCHEMA, rows, [odd], np.vstack([vectors, vectors[:1]]))
    assert found[-1] > 0.6 and found[:-1].max() == 0.0


def test_the_label_of_a_row_changes_nothing_for_that_row() -> None:
    rows, vectors = made()
    flipped = [Example(r.item_id, r.input_text, {"team": "b"} if i == 0 else r.output, group=r.group) for i, r in enumerate(rows)]
    assert difficulty(SCHEMA, flipped, [], vectors)[0] == 0.0


def test_without_a_choice_or_enough_groups_there_is_no_difficulty() -> None:
    rows, vectors = made()
    assert np.isnan(difficulty({"type": "object", "properties": {"x": {"type": "string"}}}, rows, [], vectors)).all()
    one_group = [Example(r.item_id, r.input_text, r.output, group="g") for r in rows]
    assert np.isnan(difficulty(SCHEMA, one_group, [], vectors)).all()

"""Wrong labels are found where neighbours know the field, and nowhere else."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from pp_assets.data.labels import agreements, confident_errors, kappa, suspects, without_errors, write_suspects
from pp_assets.data.neighbours import Near, near_written
from pp_assets.task.examples import Example

LABELS = [f"c{i}" for i in range(12)]
KIND = {"enum": LABELS}
SCHEMA = {"type": "object", "required": ["kind", "coin"], "properties": {"kind": KIND, "coin": {"type": "boolean"}}}


def data(n: int = 600, wrong: float = 0.1) -> tuple[list[Example], np.ndarray, set[str]]:
    """Twelve groups of embeddings, each a label, of which some are exchanged; `coin` follows nothing."""
    rng, luck = np.random.default_rng(0), random.Random(0)
    truth = [i % 12 for i in range(n)]
    vectors = np.eye(12)[truth] + 0.05 * rng.normal(size=(n, 12))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    planted = set(luck.sample(range(n), round(wrong * n)))
    labels = [LABELS[(t + luck.randrange(1, 12)) % 12] if i in planted else LABELS[t] for i, t in enumerate(truth)]
    rows = [Example(f"r{i:04d}", f"text {i}", {"kind": k, "coin": luck.random() < 0.5}, None, f"g{i}") for i, k in enumerate(labels)]
    return rows, vectors, {f"r{i:04d}" for i in planted}


def near(rows: list[Example], vectors: np.ndarray) -> Near:
    return near_written(vectors, [row.group or row.item_id for row in rows], len(rows))


def test_planted_errors_are_suspects_with_the_label_of_their_neighbours(tmp_path: Path) -> None:
    rows, vectors, planted = data()
    found, known = suspects(SCHEMA, rows, near(rows, vectors))
    assert {one.item_id for one in found} >= planted and len(found) <= 1.2 * len(planted)
    assert {one.field for one in found} == {"kind"} and known["kind"] > 0.7 and known["coin"] < 0.4
    assert all(one.suggested == LABELS[int(one.item_id[1:]) % 12] for one in found if one.item_id in planted)
    assert [one.agreement for one in found] == sorted(one.agreement for one in found) and len(found[0].neighbours) == 10
    write_suspects(tmp_path / "q.jsonl", found)
    first = json.loads((tmp_path / "q.jsonl").read_text().splitlines()[0])
    assert {"item_id", "field", "given", "suggested", "agreement"} <= first.keys()


def test_the_order_of_rows_does_not_matter() -> None:
    rows, vectors, _ = data(240)
    order = list(range(240))
    random.Random(1).shuffle(order)
    mixed = [rows[i] for i in order]
    again, _ = suspects(SCHEMA, mixed, near(mixed, vectors[order]))
    first, _ = suspects(SCHEMA, rows, near(rows, vectors))
    assert [(o.item_id, o.agreement, o.suggested) for o in again] == [(o.item_id, o.agreement, o.suggested) for o in first]


def test_rows_of_a_group_do_not_vouch_for_each_other() -> None:
    vectors = np.array([[1, 0], [1, 0], [0.9, 0.1], [0, 1]], dtype=np.float32)
    places = near_written(vectors, ["a", "a", "b", "c"], 4).places
    assert places.tolist() == [[2, 3, -1, -1], [2, 3, -1, -1], [0, 1, 3, -1], [2, 0, 1, -1]]
    assert agreements(["x", "x", "y", "y"], places[:, :2]) == [0.0, 0.0, 0.0, 0.5]
    assert agreements(["x", "y"], np.full((2, 2), -1)) == [1.0, 1.0]


def test_few_rows_are_not_judged() -> None:
    rows, vectors, _ = data(24)
    assert suspects(SCHEMA, rows, near(rows, vectors)) == ([], {})


@pytest.mark.parametrize("seed", range(3))
def test_kappa_is_that_of_scikit_learn(seed: int) -> None:
    rng = random.Random(seed)
    a = [rng.choice("abc") for _ in range(50)]
    b = [x if rng.random() < 0.6 else rng.choice("abc") for x in a]
    assert kappa(a, b) == pytest.approx(cohen_kappa_score(a, b), abs=1e-4)
    assert kappa(["a"] * 3, ["a"] * 3) == 1.0


def test_the_automatic_step_takes_what_is_surely_wrong_and_leaves_rare_labels_alone() -> None:
    rows, vectors, planted = data(360)
    kept, counts = without_errors({**SCHEMA, "properties": {"kind": KIND}}, rows, vectors)
    gone = {row.item_id for row in rows} - {row.item_id for row in kept}
    assert counts == {"kind": len(gone)} and len(gone & planted) >= 0.8 * len(gone) > 0
    assert confident_errors(["a"] * 10 + ["b"], np.ones((11, 2), dtype=np.float32)).tolist() == []

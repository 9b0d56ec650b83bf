"""Drift: false alarms are at most as many as asked for, what is far out is found and named, and what cannot be told is refused."""

import numpy as np
import pytest
from scipy import stats as sps

from pp_assets.data.novelty import LEAST, similarity
from pp_assets.drifts import each, told, windows
from pp_assets.feedback.drift import drift, known
from pp_assets.feedback.inputs import Met, between, moment, of_file, time_range
from pp_resources.errors import UserError

SIZE = 16


def cloud(rng: np.random.Generator, n: int, middle: int = 0, spread: float = 0.6) -> np.ndarray:
    """Unit vectors around the axes `middle` and `middle + 1`, half of them each."""
    at = np.eye(SIZE)[middle + rng.integers(0, 2, n)]
    found = at + spread * rng.standard_normal((n, SIZE)) / np.sqrt(SIZE)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def known_cloud(rng: np.random.Generator, n: int = 400):
    vectors = cloud(rng, n)
    return known(vectors, [str(i) for i in range(n)], ["first" if v[0] > v[1] else "second" for v in vectors])


def test_alarms_of_windows_like_the_known_are_at_most_those_asked_for() -> None:
    """Each world draws its own known rows: 300 windows, and at most as many alarms as a rate of 0.05 gives in 999 of 1000 times."""
    alarms = {"both": 0, "novel": 0, "mix": 0}
    for world in range(300):
        rng = np.random.default_rng(world)
        found = drift(known_cloud(rng, 200), cloud(rng, 60), seed=world)
        alarms["both"] += found["drift"]
        alarms["novel"] += found["novel"]["p"] <= 0.05
        alarms["mix"] += found["mix"]["p"] <= 0.05
    most = sps.binom.ppf(0.999, 300, 0.05)
    assert all(0 < count <= most for count in alarms.values()), alarms


def test_one_in_five_rows_from_elsewhere_is_found_and_named() -> None:
    rng = np.random.default_rng(0)
    window = np.vstack([cloud(rng, 80), cloud(rng, 20, middle=8)])
    found = drift(known_cloud(rng), window)
    assert found["drift"] and found["novel"]["p_holm"] <= 1e-6
    assert {driver["row"] for driver in found["drivers"]} <= set(range(80, 100)) and len(found["drivers"]) == 20
    assert found["novel"]["low"] < found["novel"]["share"] < found["novel"]["high"] and found["novel"]["low"] > found["novel"]["expected"]


def test_moved_topics_are_found_where_no_row_is_novel() -> None:
    rng = np.random.default_rng(1)
    like, window = known_cloud(rng), cloud(rng, 400)
    found = drift(like, window[window[:, 0] > window[:, 1]][:100])
    assert found["drift"] and found["mix"]["p_holm"] <= 0.001 and found["novel"]["p"] > 0.05
    first, second = found["mix"]["topics"]
    assert {first["topic"], second["topic"]} == {"first", "second"} and first["z"] * second["z"] < 0
    assert found["mix"]["distance"] == pytest.approx(0.5, abs=0.1)


def test_the_p_of_novelty_is_the_share_of_orders_with_as_many_low_scores() -> None:
    """Against dealing the pooled ranks out at random: m known, n new rows, all orders equally likely."""
    rng = np.random.default_rng(2)
    m, n, r, count = 79, 20, 4, 4  # the fourth lowest of 79 is the limit
    hits = 0
    for _ in range(20_000):
        order = rng.permutation(m + n)
        limit = np.flatnonzero(order < m)[r - 1]
        hits += (order[:limit] >= m).sum() >= count
    assert sps.betabinom.sf(count - 1, n, r, m + 1 - r) == pytest.approx(hits / 20_000, abs=0.005)
    like = known_cloud(np.random.default_rng(3), m)
    window = np.vstack([cloud(np.random.default_rng(4), n - count, spread=0.05), cloud(np.random.default_rng(5), count, middle=8)])
    assert drift(like, window)["novel"]["p"] == pytest.approx(sps.betabinom.sf(count - 1, n, r, m + 1 - r), abs=1e-6)


def test_a_row_is_not_compared_with_its_own_group() -> None:
    """Copies of a row in its group would make all that is new look far out."""
    vectors = cloud(np.random.default_rng(6), 100)
    doubled, groups = np.repeat(vectors, 2, axis=0), [str(i // 2) for i in range(200)]
    like = known(doubled, groups)
    assert like is not None
    alone = similarity(doubled, doubled, (np.arange(200), np.arange(200)))
    assert like.similarity.mean() < alone.mean() - 0.01


def _novel(like, vectors: np.ndarray) -> float:
    return float((like.p_values(similarity(vectors, like.vectors)) <= 0.05).mean())


def test_single_rows_are_novel_as_often_as_is_said() -> None:
    shares = []
    for world in range(40):
        rng = np.random.default_rng(100 + world)
        shares.append(_novel(known_cloud(rng, 300), cloud(rng, 100)))
    assert 0.02 < np.mean(shares) < 0.06


@pytest.mark.parametrize(("rows", "groups"), [(0, 0), (LEAST - 1, LEAST - 1), (100, 3)])
def test_too_few_known_rows_tell_nothing(rows: int, groups: int) -> None:
    vectors = cloud(np.random.default_rng(7), rows)
    assert known(vectors, [str(i % max(1, groups)) for i in range(rows)]) is None


def test_without_topics_there_is_no_mix_and_the_reason_is_given() -> None:
    rng = np.random.default_rng(8)
    vectors = cloud(rng, 100)
    like = known(vectors, [str(i) for i in range(100)])
    found = drift(like, cloud(rng, 30))
    assert (
        found["mix"]["p"] is None and found["mix"]["reason"] == "fewer than two topics are known" and found["novel"]["p_holm"] is not None
    )


def test_windows_name_rows_times_and_the_nearest_known_text() -> None:
    rng = np.random.default_rng(9)
    vectors = cloud(rng, 200)
    like, texts = known(vectors, [str(i) for i in range(200)]), [f"known {i}" for i in range(200)]
    new = np.vstack([cloud(rng, 50), cloud(rng, 50, middle=8), vectors[:10]])
    rows = [Met(str(i), f"new {i}", moment(1000 + i, "row")) for i in range(110)]
    found = windows(like, texts, rows, new, size=50)
    assert [one["drift"] for one in found["windows"]] == [False, True], "the last ten are too few to test"
    second = found["windows"][1]
    assert (second["first"], second["from"], second["to"]) == (50, "1970-01-01T00:17:30+00:00", "1970-01-01T00:18:19+00:00")
    assert all(int(d["id"]) >= 50 and d["input_text"] == f"new {d['id']}" for d in second["drivers"])
    said = told(found)
    assert said["newest_drifts"] and said["drifting"] == 1 and [row["n"] for row in said["table"]] == [50, 50]
    far, near = each(like, texts, [rows[60], rows[100]], new[[60, 100]])
    assert far["novel"] and not near["novel"] and near["nearest"] == "known 0" and far["p"] < near["p"]


def test_inputs_of_a_file_have_their_times_and_bad_lines_are_named(tmp_path) -> None:
    file = tmp_path / "calls.jsonl"
    file.write_text('{"input_text": "a", "at": "2026-11-01T10:00"}\n\n{"id": 7, "input_text": "b", "meta": {"time": 1793692800}}\n')
    first, second = of_file(file)
    assert (first.id, second.id) == ("line 1", "7") and second.at.isoformat() == "2026-11-03T08:00:00+00:00"
    assert between([first, second], *time_range("2026-11-02.."), "x") == [second]
    assert between([first, second], *time_range("..2026-11-02"), "x") == [first]
    (tmp_path / "texts.txt").write_text("one\n\ntwo\n")
    texts = of_file(tmp_path / "texts.txt")
    assert [row.input_text for row in texts] == ["one", "two"]
    with pytest.raises(UserError, match="line 1 has no time"):
        between(texts, *time_range("2026-11-02.."), "x")
    for bad, said in (('{"input_text": 3}', "calls.jsonl:1"), ('{"input_text": "a", "at": "soon"}', "'soon' is no time"), ("{", "JSON")):
        file.write_text(bad + "\n")
        with pytest.raises(UserError, match=said):
            of_file(file)
    for text in ("yesterday", "..", "2026-13-01.."):
        with pytest.raises(UserError, match=r"no range|no time"):
            time_range(text)

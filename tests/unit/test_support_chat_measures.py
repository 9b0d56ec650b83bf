"""The figures of the chat: from the store's feedback, each with n and an interval, unknown where nobody has said anything."""

import pytest
from scipy.stats import t
from statsmodels.stats.proportion import proportion_confint

from examples.support_chat.measures import ACCURACY, ESCALATED, RESOLUTION, SATISFACTION, SECONDS, measure
from examples.support_chat.show import told_figures
from pp_resources.store.ids import MICRO
from pp_resources.store.opened import open_store
from pp_resources.store.rows import Feedback, Inference

DAY = 86_400 * MICRO


@pytest.fixture
def store(tmp_path):
    """Two days, two variants: `a` answers i-0 to i-5, `b` the priced i-6 to i-9; an episode each."""
    made = open_store(tmp_path)
    rows = [
        Inference(
            id=f"i-{i}",
            at=(20_000 + i % 2) * DAY + i * MICRO,
            task="t",
            variant="a" if i < 6 else "b",
            input="x",
            output="{}",
            episode=f"e-{i}",
            latency_ms=10.0,
            cost=None if i < 6 else 0.002,
        )
        for i in range(10)
    ]
    made.write_many([*rows, Inference(task="t", variant="c", input="x", output="{}", shadow=True, id="copy")])
    return made


def say(store, metric, values, level="inference", kind="boolean"):
    at = 20_003 * DAY
    for i, value in values.items():
        target = {"inference": f"i-{i}"} if level == "inference" else {"episode": f"e-{i}"}
        store.write(Feedback(kind=kind, metric=metric, value=value, at=at, task="t", **target))


def figure(found, metric, variant=None):
    return next(one for one in found["metrics"] if (one["metric"], one["variant"]) == (metric, variant))


def test_nothing_is_known_before_anybody_speaks(store):
    found = measure(store, "t")
    assert [one["value"] for one in found["metrics"]] == [None] * len(found["metrics"]) and found["days"] == []
    assert {one["variant"] for one in found["metrics"]} == {None, "a", "b"}, "what nobody saw is no part of it"
    assert figure(found, ACCURACY)["of"] == 10 and figure(found, RESOLUTION, "b")["of"] == 4 and figure(found, ACCURACY)["reason"]
    assert "unknown: nobody has said" in told_figures(found)
    assert all(one["value"] is None and one["of"] == 0 for one in measure(store, "other")["metrics"])


def test_shares_have_n_and_wilson_s_interval_and_are_pooled_by_sums(store):
    say(store, ACCURACY, {0: 1.0, 1: 0.0, 2: 1.0, 6: 1.0})
    store.write(Feedback(kind="boolean", metric=ACCURACY, value=0.0, inference="i-2", task="t", at=20_004 * DAY))  # thought again
    found = measure(store, "t")
    for variant, hits, n, of in ((None, 2, 4, 10), ("a", 1, 3, 6), ("b", 1, 1, 4)):
        one = figure(found, ACCURACY, variant)
        low, high = proportion_confint(hits, n, method="wilson")
        assert (one["n"], one["of"], one["value"]) == (n, of, pytest.approx(hits / n)) and one["level"] == "inference"
        assert (one["low"], one["high"]) == (pytest.approx(low), pytest.approx(high))


def test_numbers_have_student_s_interval_and_one_of_them_none(store):
    stars = {0: 4.0, 1: 2.0, 7: 5.0}
    say(store, SATISFACTION, stars, "episode", "float")
    say(store, SECONDS, {3: 12.0}, kind="float")
    found = measure(store, "t")
    one, values = figure(found, SATISFACTION), list(stars.values())
    low, high = t.interval(0.95, 2, sum(values) / 3, (sum((v - sum(values) / 3) ** 2 for v in values) / 2 / 3) ** 0.5)
    assert (one["n"], one["value"], one["low"], one["high"]) == (3, pytest.approx(11 / 3), pytest.approx(low), pytest.approx(high))
    alone = figure(found, SECONDS)
    assert (alone["value"], alone["low"]) == (12.0, None) and alone["reason"] and "12.000 (one value is no sample)" in told_figures(found)


def test_days_and_variants(store):
    say(store, ACCURACY, {0: 1.0, 2: 1.0, 1: 0.0})
    say(store, ESCALATED, {i: float(i == 3) for i in range(10)}, "episode")
    found = measure(store, "t")
    days = {(one["day"], one["metric"]): (one["n"], one["value"]) for one in found["days"]}
    assert days["2024-10-04", ACCURACY] == (2, 1.0) and days["2024-10-05", ACCURACY] == (1, 0.0), "the day of the answer"
    assert days["2024-10-07", ESCALATED] == (10, pytest.approx(0.1)) and days["2024-10-04", RESOLUTION] == (0, None)
    first, second = found["variants"]
    assert (first["variant"], first["share"], first["cost_per_query"], first[ACCURACY], first["n"]) == (
        "a",
        pytest.approx(0.6),
        None,
        pytest.approx(2 / 3),
        3,
    )
    assert second["cost_per_query"] == pytest.approx(0.002) and second[ACCURACY] is None and second["latency_ms"]["p50"] > 0
    assert "cost per query unknown" in told_figures(found)

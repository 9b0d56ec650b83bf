"""What is read from the cells of an experiment: summaries, comparisons, groups; all of it without a call."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats as sps

from pp_assets.evaluation.stats import bonett_price, mcnemar, nested_mean
from pp_assets.experiment import Experiment, half_width, op, pass_all, quantile
from pp_resources.errors import UserError

N, TRIALS = 60, 4
TOPICS = ["tax", "post", "rent"]


@op(version="1", sampled=False)
def answer(model, number):
    # Model b errs less often than a, and errs on tax where it errs.
    return (number * 7919) % 10 >= (4 if model == "a" else 2) or (model == "b" and number % 3 > 0)


@op(version="1")
def guess(model, number):
    guess.function.calls = getattr(guess.function, "calls", 0) + 1
    return guess.function.calls % 7 > 1


def right(answer):
    return {"hit": answer, "length": 10.0 + answer}


ROWS = [{"id": i, "number": i, "topic": TOPICS[i % 3], "family": f"f{i // 2}"} for i in range(N)]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    store = tmp_path_factory.mktemp("cells") / "cells.db"
    return Experiment(ROWS, store=store).vary(model=["a", "b"]).step("answer", answer).score(right).run()


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    store = tmp_path_factory.mktemp("cells") / "cells.db"
    return Experiment(ROWS, store=store).vary(model=["a"]).step("answer", guess).score(right).trials(TRIALS).run(workers=1)


def test_the_table_is_tidy(results):
    assert results.df.index.names == ["id", "model", "trial"] and len(results.df) == 2 * N
    assert results.metrics == ["right.hit", "right.length"]
    assert {"topic", "answer", "right.hit", "status", "error", "seconds", "tokens_in", "tokens_out", "cost_usd"} <= set(results.df.columns)


def test_a_summary_is_a_mean_over_items_with_an_interval(results, sampled):
    table = results.summary("right.hit")
    for model in "ab":
        hits = results.df.xs(model, level="model")["right.hit"].to_numpy()
        assert tuple(table.loc[model, ["mean", "low", "high"]]) == pytest.approx(of(hits))
        assert tuple(table.loc[model, ["n_items", "n_trials"]]) == (N, N)
    found = sampled.summary("right.hit")
    assert found["n_items"].item() == N and found["n_trials"].item() == N * TRIALS
    assert results.summary("right.hit", by=["topic", "model"]).shape[0] == 6


def of(hits):
    found = nested_mean(hits)
    return found.value, found.low, found.high


def test_other_statistics(sampled):
    table = sampled.df["right.hit"].to_numpy().reshape(N, TRIALS)
    one, two = (sampled.summary("right.hit", stat=pass_all(k)) for k in (1, 2))
    assert one["pass^1"].item() == pytest.approx(table.mean())
    pairs = [[a * b for i, a in enumerate(row) for b in row[i + 1 :]] for row in table]
    assert two["pass^2"].item() == pytest.approx(np.mean(pairs))
    middle = sampled.summary("right.length", stat=quantile(0.5))
    assert middle["low"].item() <= middle["q50"].item() == np.median(sampled.df["right.length"]) <= middle["high"].item()
    assert sampled.summary({"right.hit": "mean", "right.length": "sum"}).loc["right.length", "sum"] == sampled.df["right.length"].sum()

    def share(rows):
        return rows["right.hit"].sum() / len(rows)

    own, plain = sampled.summary("right.hit", stat=share), sampled.summary("right.hit")
    assert own["share"].item() == pytest.approx(plain["mean"].item())
    assert own[["low", "high"]].to_numpy() == pytest.approx(plain[["low", "high"]].to_numpy(), abs=0.05)


def test_a_single_item_has_no_interval_and_never_one_of_no_width(tmp_path):
    one = Experiment(ROWS[:1], store=tmp_path / "c.db").vary(model=["a", "b"]).step("answer", answer).score(right).run()
    assert one.summary("right.hit")["low"].isna().all() and one.compare("model", "a", "b", "right.hit").ci == (None, None)
    two = Experiment(ROWS[1:3], store=tmp_path / "c.db").vary(model=["a", "b"]).step("answer", answer).score(right).run()
    assert (two.summary("right.hit")["high"] > two.summary("right.hit")["low"]).all()


def test_two_models_are_compared_by_item(results):
    found = results.compare("model", a="a", b="b", metric="right.hit")
    a, b = (results.df.xs(m, level="model")["right.hit"].to_numpy() for m in "ab")
    wins, losses = int((b > a).sum()), int((a > b).sum())
    assert (found.wins, found.losses, found.ties, found.n_items) == (wins, losses, N - wins - losses, N) and wins > losses
    assert found.delta == pytest.approx(b.mean() - a.mean()) and found.p == mcnemar(wins, losses).p
    low, high = bonett_price(wins, losses, N, 0.95)
    assert found.ci[0] <= low and found.ci[1] >= high and found.mde > 0
    assert found.verdict() == "better" == results.compare("model", "b", "a", "right.hit", higher_is_better=False).verdict()
    assert len(found.rows("wins")) == 2 * wins and set(found.rows("wins").index.unique("model")) == {"a", "b"}
    assert "wins" in str(found) and "exact McNemar" in str(found)


def test_scores_and_trials_are_compared_by_permutation(results, sampled):
    found = results.compare("model", "a", "b", "right.length")
    pairs = found.pairs["gain"].to_numpy()
    exact = sps.permutation_test((pairs,), np.mean, permutation_type="samples", n_resamples=9999, random_state=1).pvalue
    assert found.p == pytest.approx(exact, abs=0.02) and "permutation" in found.found.test


def test_families_are_permuted_whole(results):
    alone, together = (results.compare("model", "a", "b", "right.hit", cluster=c) for c in (None, "family"))
    assert together.found.groups == N // 2 and together.p >= alone.p and together.delta == alone.delta


def test_a_margin_tells_equal_from_undecided(tmp_path):
    @op(version="1", sampled=False)
    def nearly(model, number):
        return number % 50 > 0 or model == "a"

    exp = Experiment([{"id": i, "number": i} for i in range(400)], store=tmp_path / "c.db").vary(model=["a", "b"]).step("answer", nearly)
    found = exp.score(right).run().compare("model", "a", "b", "right.hit")
    assert found.verdict(0.05) == ("worse" if found.ci[1] < 0 else "equivalent") and found.verdict(0.001) != "equivalent"


def test_many_comparisons_are_corrected(results):
    plain, holm = (results.compare_all("model", ["right.hit", "right.length"], correct=c).df for c in ("none", "holm"))
    assert len(holm) == 2 and (holm["p_adjusted"] >= plain["p"]).all() and (holm["p_adjusted"] > holm["p"]).any()
    by = results.compare("model", "a", "b", "right.hit", by="topic", correct="bh")
    assert list(by.df["topic"]) == TOPICS and by.df["n_items"].sum() == N


def test_groups_keep_their_rows(results):
    part = results.groupby("topic").drill("tax")
    assert set(part.df["topic"]) == {"tax"} and part.summary("right.hit")["n_items"].tolist() == [20, 20]
    assert len(results.groupby(["topic", "model"]).drill("tax", "a").df) == 20
    with pytest.raises(UserError, match="no rows with 'taxes'; did you mean 'tax'"):
        results.groupby("topic").drill("taxes")


def test_pictures_come_out(results, tmp_path):
    results.scatter("right.hit", "seconds", path=tmp_path / "s.png")
    results.compare("model", "a", "b", "right.hit").plot(tmp_path / "c.png")
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("s.png", "c.png"))


def test_a_report_is_one_page_that_says_what_is_decided_first(results, tmp_path):
    text = results.report(tmp_path / "out" / "page.html", title="a < b").read_text()
    assert text.index("a &lt; b") < text.index("better:") < text.index("<h2>Metrics</h2>") < text.index("wins of b")
    assert "<script" not in text and "http" not in text.replace("http-equiv", "")
    assert text.count("data:image/png;base64,") == 2


def test_precision_says_whether_trials_or_items_help(results, sampled):
    one, several = results.precision("right.hit"), sampled.precision("right.hit")
    assert list(one.index) == ["a", "b"] and one["share_between_items"].isna().all(), "one trial of each tells nothing of trials"
    assert 0 <= several["share_between_items"].item() < 0.5 and several["half_width"].item() < one["half_width"].min()
    advice = results.needed("right.hit", half_width=0.01)
    assert advice["trials"].isna().all() and (advice["items"] > N).all()
    assert sampled.needed("right.hit", half_width=0.04)["trials"].item() > TRIALS


def test_a_run_ends_when_the_metric_is_known(tmp_path):
    exp = Experiment(ROWS, store=tmp_path / "c.db").step("answer", guess, inputs={"model": "topic"}).score(right)
    results = exp.run(until=half_width("right.hit", 0.09), max_trials=40, workers=1)
    used = exp.trial_count
    assert 1 < used < 40 and results.computed["answer"] == N * used
    known = nested_mean(results.df["right.hit"].to_numpy().reshape(N, used))
    assert known.high - known.low < 0.18
    fixed = Experiment(ROWS, store=tmp_path / "d.db").vary(model=["a"]).step("answer", answer).score(right)
    assert fixed.run(until=half_width("right.hit", 0.001)).computed["answer"] == N, "without sampling more trials say nothing"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda r: r.summary("right"), "no column 'right'"),
        (lambda r: r.summary("topic"), "'topic' holds no numbers"),
        (lambda r: r.compare("modle", "a", "b", "right.hit"), "no dimension 'modle'; did you mean 'model'"),
        (lambda r: r.compare("model", "a", "c", "right.hit"), "no rows with 'c'"),
        (lambda r: r.compare_all("model", ["right.hit"], correct="holms"), "no correction 'holms'; did you mean 'holm'"),
        (lambda r: r.compare("model", "a", "b", "right.hit").rows("lost"), "no rows 'lost'"),
        (lambda r: r.needed("right.hit", 0), "a half-width of 0"),
        (lambda r: r.versions("rigth"), "no step or score 'rigth'"),
    ],
)
def test_bad_input_is_told(results, wrong, says):
    with pytest.raises(UserError, match=says):
        wrong(results)


def test_missing_scores_do_not_count(tmp_path):
    @op(version="1")
    def sometimes(answer, number):
        return None if number < 10 else answer

    exp = Experiment(pd.DataFrame(ROWS), store=tmp_path / "c.db").vary(model=["a", "b"]).step("answer", answer).score(sometimes)
    table = exp.run().summary("sometimes")
    assert table["n_items"].tolist() == [N - 10] * 2

"""The suite's metrics against the libraries that they come from, or against brute force."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from suite_models import Rule, examples, task, truth
from test_eval_predictions import answers, row, spec

from pp_assets.evaluation.confidence import aurc, calibration, ece, equal_mass
from pp_assets.evaluation.predictions import make_rows
from pp_assets.evaluation.scoring import score_rows
from pp_assets.evaluation.suite.classes import class_metrics, resampled_auc
from pp_assets.evaluation.suite.matching import credit, matching, similarity
from pp_assets.evaluation.suite.paired import Judge, Pair
from pp_assets.evaluation.suite.parity import _counts, _odds_gap, _parity_gap, fair
from pp_assets.evaluation.suite.similarity import TextSimilarity
from pp_assets.evaluation.suite.wordings import bleu_of, text_metrics
from pp_resources.json_schema import dump_output
from pp_resources.models.bases import find_base
from pp_resources.models.encoder.calibration import expected_calibration_error


def toy(fault=lambda text: False, n=60):
    model, some = Rule(fault), examples(n)
    predictions = model.predict([e.input_text for e in some], distributions=True)
    judge = Judge.of(task())
    return judge.scored(make_rows(some, predictions, lambda o: dump_output(judge.scoring.schema, o))), predictions


def test_class_metrics_are_those_of_scikit_learn_with_intervals():
    from sklearn.metrics import f1_score, precision_score

    rows = answers(0.7, 2, 150, 3)
    scored = score_rows(spec(), rows)
    entry = class_metrics(scored, [Rule().predict(["x"])[0]] * 150)[0]
    said = [a.value["intent"] for a in scored.answers]
    expected = [e.value["intent"] for e in scored.expected]
    for one in entry["classes"]:
        value = precision_score(expected, said, labels=[one["class"]], average="macro")
        assert one["precision"]["value"] == pytest.approx(value) and one["precision"]["low"] <= value <= one["precision"]["high"]
    assert entry["macro_f1"]["value"] == pytest.approx(f1_score(expected, said, average="macro"))
    assert entry["roc_auc"]["value"] is None and "no probabilities" in entry["roc_auc"]["reason"]


def test_a_class_that_is_never_answered_has_no_precision():
    rows = [row(i, {"intent": intent, "urgent": True}, {"intent": "buy", "urgent": True}) for i, intent in enumerate(["buy", "sell"] * 10)]
    classes = {one["class"]: one for one in class_metrics(score_rows(spec(), rows), [Rule().predict([""])[0]] * 20)[0]["classes"]}
    assert classes["sell"]["precision"]["value"] is None and classes["sell"]["precision"]["reason"] == "never answered"
    assert classes["sell"]["recall"]["value"] == 0.0 and classes["sell"]["f1"]["value"] == 0.0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(1, 3)), min_size=4, max_size=30))
def test_auc_of_a_resample_is_that_of_scikit_learn(items):
    from sklearn.metrics import roc_auc_score

    positive, scores, weights = (np.array(column) for column in zip(*items))
    if positive.all() or not positive.any():
        return
    found = resampled_auc(positive, scores.astype(float), weights[None, :].astype(float))
    assert found[0] == pytest.approx(roc_auc_score(positive, scores, sample_weight=weights))


def test_auc_comes_from_the_distributions_of_the_answers():
    scored, predictions = toy()
    entries = {one["field"]: one["roc_auc"] for one in class_metrics(scored, predictions)}
    assert entries["kind"]["value"] == entries["urgent"]["value"] == 1.0
    wrong, predictions = toy(lambda text: True)
    assert {one["field"]: one["roc_auc"]["value"] for one in class_metrics(wrong, predictions)}["urgent"] == 0.0


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 4), st.integers(3, 20), st.integers(0, 999))
def test_differences_between_groups_are_those_of_fairlearn(groups, n, seed):
    rng = np.random.default_rng(seed)
    truth_ = np.tile(rng.random(n) < 0.5, (groups, 1))
    said = rng.random((groups, n)) < 0.4
    sums = _counts(truth_, said).sum(1)
    names = [f"group {g}" for g in range(groups)]
    assert float(_parity_gap(sums)) == pytest.approx(fair("demographic_parity", truth_, said, names))
    assert float(_odds_gap(sums)) == pytest.approx(fair("equalised_odds", truth_, said, names))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["a b", "a", "b c", "c"]), max_size=4), st.lists(st.sampled_from(["a b", "b", "c"]), max_size=4))
def test_matched_credit_is_the_best_of_all_assignments(answered, expected):
    short, long = sorted((answered, expected), key=len)
    best = max((sum(similarity(a, b) for a, b in zip(short, some)) for some in permutations(long, len(short))), default=0.0)
    assert credit(answered, expected) == pytest.approx(best)


def test_lists_and_objects_get_partial_credit_and_order_does_not_matter():
    expected = {"intent": "buy", "urgent": True, "items": ["red lamp", "chair"], "order": None, "count": 3}
    said = {**expected, "items": ["chair", "lamp", "bed"], "count": 4}
    found = {one["field"]: one for one in matching(score_rows(spec(), [row(i, expected, said) for i in range(12)]))}
    items = found["items"]
    assert items["precision"]["value"] == pytest.approx((1 + 2 / 3) / 3) and items["recall"]["value"] == pytest.approx((1 + 2 / 3) / 2)
    whole = found["(whole object)"]["recall"]["value"]
    assert whole == pytest.approx((2 + 0 + 2 * (1 + 2 / 3) / 5) / 4), "intent and urgent right, count wrong, the list partly"
    assert similarity({"a": "x", "b": 1}, {"a": "x", "b": 2}) == 0.5 and similarity(True, 1) == 0.0
    assert similarity("red lamp", "lamp red") == 0.99, "the same words in another order are not the same text"


def test_bleu_of_summed_counts_is_that_of_the_corpus_and_missing_texts_count():
    from sacrebleu.metrics import BLEU

    pairs = [("the big red lamp", "the big lamp"), ("order A12", "order A12"), ("nothing", "a very long answer here")]
    metric = BLEU(effective_order=True)
    scores = [metric.sentence_score(a, [e]) for a, e in pairs]
    sums = np.array([[s.sys_len, s.ref_len, *s.counts, *s.totals] for s in scores]).sum(0)
    assert bleu_of(sums) == pytest.approx(metric.corpus_score([a for a, _ in pairs], [[e for _, e in pairs]]).score)
    rows = [
        row(i, {"intent": "buy", "urgent": True, "order": e}, {"intent": "buy", "urgent": True, "order": a})
        for i, (a, e) in enumerate(pairs)
    ]
    rows += [row(9, {"intent": "buy", "urgent": True, "order": "A1"}, {"intent": "buy", "urgent": True, "order": None})]
    rows += [row(10, {"intent": "buy", "urgent": True, "order": None}, {"intent": "buy", "urgent": True, "order": None})]
    (entry,) = text_metrics(score_rows(spec(), rows), None, "no encoder")
    assert entry["rouge1"]["n"] == 4 and entry["rouge1"]["value"] == pytest.approx((6 / 7 + 1 + 0 + 0) / 4)
    assert entry["bertscore"]["value"] is None and entry["bertscore"]["reason"] == "no encoder"
    assert entry["bleu"]["low"] <= entry["bleu"]["value"] <= entry["bleu"]["high"] and "tok:" in entry["bleu"]["method"]


def test_similarities_order_texts_by_meaning():
    measure = TextSimilarity(find_base("sentence-transformers/all-MiniLM-L6-v2"))
    answered = ["a cat sat", "a kitten was sitting", "tax law of 1990", ""]
    expected = ["a cat sat"] * 4
    for values in (measure.bertscore(answered, expected), measure.cosine(answered, expected)):
        assert values[0] == pytest.approx(1.0, abs=1e-5) and values[0] > values[1] > values[2]
    assert measure.bertscore([""], ["a"])[0] == 0.0
    forth, back = measure.bertscore(["a cat", "x y"], ["x y", "a cat"])
    assert forth == pytest.approx(back, abs=1e-6), "the F1 of BERTScore has no direction"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=20, max_size=60))
def test_ece_is_that_of_the_calibration_module_and_aurc_that_of_brute_force(items):
    sure, hits = np.array([c / 10 for c, _ in items]), np.array([float(h) for _, h in items])
    ones = np.ones((1, len(items)))
    assert ece(sure, hits, equal_mass(sure), ones)[0] == pytest.approx(reference_ece(sure, hits))
    risks = [1 - hits[sure >= c].mean() for c in sure]
    assert aurc(sure, hits, ones)[0] == pytest.approx(np.mean(risks))
    doubled = np.concatenate([sure, sure]), np.concatenate([hits, hits])
    assert aurc(sure, hits, 2 * ones)[0] == pytest.approx(aurc(*doubled, np.ones((1, 2 * len(items))))[0])


def reference_ece(sure, hits):
    return expected_calibration_error(sure.tolist(), (hits > 0).tolist())


def test_calibration_tells_a_model_that_knows_its_errors_from_one_that_is_too_sure():
    knows = {one["field"]: one for one in calibration(toy(lambda text: truth(text)["kind"] == "returns", 120)[0])}
    whole = knows["(whole object)"]
    assert whole["thresholds"][0]["threshold"] == 0.9 and whole["thresholds"][0]["accuracy"] == 1.0
    assert whole["curve"][0]["risk"] == 0.0 and whole["curve"][-1]["risk"] > 0.2 and whole["aurc"]["low"] <= whole["aurc"]["value"]
    assert sum(one["n"] for one in whole["reliability"]) == 120 and whole["ece"]["high"] < 0.5
    few = calibration(toy(n=10)[0])[0]
    assert few["ece"]["value"] is None and "20 are needed" in few["ece"]["reason"]


def test_flips_and_mcnemar_count_pairs_as_they_are():
    judge = Judge.of(spec())
    expected = {"intent": "buy", "urgent": True, "order": "a1"}
    right, wrong = dict(expected), {**expected, "intent": "ask"}
    upper = '{"intent":"buy","urgent":true,"order":"A1"}'
    pairs = [Pair(f"{i}", row(i, expected, right), "", upper, upper, str.upper) for i in range(6)]
    pairs += [Pair(f"x{i}", row(20 + i, expected, wrong), "", row(0, right, right).expected, row(0, right, right).output) for i in range(2)]
    found = judge.compare(pairs)
    assert (found.n, found.clean, found.changed, found.lost, found.gained) == (8, 0.75, 1.0, 0, 2)
    assert found.flips == 0.25, "an answer that changes as the text does is no flip"
    assert found.p_value == 0.5

"""`pp compare` and `pp power` on stored answers of a small task; no model runs."""

import json
from pathlib import Path

import pytest
from small_task import write_task

from pp_assets.evaluation.predictions import PredictionRow, write_predictions, write_systems
from pp_assets.evaluation.stats import mcnemar_power, required_items
from pp_assets.pipeline import BASELINES, EVALUATIONS, Pipeline
from pp_resources.settings import Settings

ROWS = 96


def rows(right: set[int], n: int = 60, per_group: int = 2) -> list[PredictionRow]:
    """Answers to `n` items of which those in `right` are right; the others choose another kind."""
    expected = json.dumps({"kind": "billing", "order": None})
    wrong = json.dumps({"kind": "returns", "order": None})
    return [
        PredictionRow(f"{i:04d}", f"g{i // per_group}", f"text {i}", expected, expected if i in right else wrong, latency_ms=1.0 + i % 3)
        for i in range(n)
    ]


GOOD, FAIR, POOR = rows(set(range(54))), rows(set(range(0, 60, 1)) - set(range(0, 60, 3))), rows(set(range(0, 60, 4)))


def system(name: str, answers: list[PredictionRow], kind: str = "baseline"):
    return {"name": name, "kind": kind, "description": name, "rows": answers}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation with the task `alpha`, two baselines and an evaluated variant."""
    root = tmp_path_factory.mktemp("installation")
    write_task(root / "tasks", "alpha", rows=ROWS)
    write_task(root / "tasks", "beta", rows=ROWS)
    store = Pipeline(Settings(home=root / "pp", tasks=root / "tasks", threads=1)).store
    baselines = [system("majority", POOR), system("tfidf-logreg", FAIR)]
    store.produce(BASELINES, "alpha", {"v": "1"}, lambda out: write_systems(out / "predictions", baselines))
    systems = [system("encoder-lora", GOOD, "candidate"), *baselines]
    store.produce(EVALUATIONS, "alpha/encoder-lora", {"v": "1"}, lambda out: write_systems(out / "predictions", systems))
    store.produce(BASELINES, "beta", {"v": "1"}, lambda out: write_systems(out / "predictions", baselines))
    return root


def test_a_variant_is_compared_with_a_baseline(pp) -> None:
    found = pp("compare", "alpha/encoder-lora", "alpha/majority", "--json").json
    assert (found["task"], found["metric"], found["n"], found["groups"]) == ("alpha", "object_exact_match", 60, 30)
    assert (found["a"]["value"], found["b"]["value"], found["winner"]) == (0.9, 0.25, "a")
    c = found["comparison"]
    assert found["wins"] == c["only_candidate"] and found["losses"] == c["only_other"] and found["wins"] - found["losses"] == 39
    assert found["wins"] + found["losses"] + found["ties"] == 60
    assert c["effect"] == 0.65 and 0 < c["low"] < 0.65 < c["high"] and c["p_value"] < 0.001 and c["mcnemar_mid_p"] <= c["mcnemar_p"]
    assert found["effects"]["cohens_dz"]["low"] > 0 and 0.4 < found["effects"]["cliffs_delta"]["value"] < 0.7
    assert found["conclusion"].startswith("alpha/encoder-lora is better than alpha/majority by 0.6500 of object_exact_match")
    assert found["non_inferiority"] is None


def test_the_table_names_the_test_and_ends_with_a_sentence(pp) -> None:
    said = pp("compare", "alpha/majority", "alpha/encoder-lora", "--margin", "0.05")
    assert said.code == 0 and said.err == ""
    for words in (
        "60 test items, in 30 groups",
        "larger p of exact McNemar",
        "mid-p",
        "odds ratio",
        "wins / losses / ties",
        "smallest detectable",
    ):
        assert words in said.out
    assert said.out.splitlines()[-1].startswith("alpha/encoder-lora is better than alpha/majority")
    (judged,) = [row for row in said.out.splitlines() if row.startswith("no worse by more than 0.05")]
    assert "FAIL" in judged and "the challenger is worse by 0.6500" in judged


def test_a_report_is_written_beside_what_is_said(pp, tmp_path: Path) -> None:
    page, data = tmp_path / "c.html", tmp_path / "c.json"
    said = pp("compare", "alpha/encoder-lora", "alpha/majority", "--margin", "0.05", "--report", str(page), "--report", str(data))
    assert said.code == 0 and said.out.splitlines()[-2:] == [f"report   {page}", f"report   {data}"]
    document = json.loads(data.read_text())
    assert document["verdict"]["label"] == "A IS BETTER" and document["wins"] == 39 + document["losses"]
    assert document["reproduce"]["command"].startswith("pp compare alpha/encoder-lora alpha/majority --margin 0.05 --report ")
    assert page.read_text().startswith("<!DOCTYPE html>") and "A IS BETTER" in page.read_text()
    assert pp("compare", "alpha/encoder-lora", "alpha/majority", "--report", str(page), "--json").json["report"] == [str(page)]


def test_a_test_with_looks_shows_its_path_in_the_report(pp, tmp_path: Path) -> None:
    file = tmp_path / "ab.md"
    assert pp("ab", "alpha/encoder-lora", "alpha/majority", "--sequential", "--batch", "2", "--report", str(file)).code == 0
    text = file.read_text()
    assert "## Sequential test" in text and "Stopped after" in text and "--sequential --batch 2 --report" in text.replace("\\", "")


def test_a_report_of_no_kind_is_one_line_and_nothing_is_written(pp, tmp_path: Path) -> None:
    for words in (("compare",), ("ab", "--sequential")):
        said = pp(*words, "alpha/encoder-lora", "alpha/majority", "--report", str(tmp_path / "c.pdf"))
        assert said.code == 2 and "end the name in .html, .md, .json" in said.err and said.err.count("\n") == 1
    assert list(tmp_path.glob("c.*")) == []


def test_what_is_not_decided_says_what_would_decide(pp) -> None:
    found = pp("compare", "alpha/encoder-lora", "alpha/encoder-lora", "--margin", "0.2", "--json").json
    assert found["winner"] is None and "they are equal" in found["conclusion"] and "80% power" in found["conclusion"]
    assert found["non_inferiority"]["verdict"] == "PASS" and found["non_inferiority"]["level"] == 0.9


def test_files_of_predictions_and_other_metrics(pp, tmp_path: Path) -> None:
    write_predictions(tmp_path / "new.jsonl.gz", GOOD)
    file = str(tmp_path / "new.jsonl.gz")
    found = pp("compare", file, "alpha/tfidf-logreg", "--metric", "field_f1.kind", "--json").json
    assert found["a"]["name"] == file and "paired permutation of whole groups" in found["comparison"]["test"]
    assert found["wins"] is None and "whole corpus" in found["reason"]
    assert "field_f1.kind is one of the whole corpus" in pp("compare", file, "alpha/tfidf-logreg", "--metric", "field_f1.kind").out
    alone = pp("compare", file, file)
    assert alone.code == 2 and "do not say which task they answer; add --task TASK" in alone.err
    assert pp("compare", file, file, "--task", "alpha", "--metric", "latency_ms_mean").code == 0


def test_a_stored_file_knows_its_task(pp, home: Path) -> None:
    (file,) = (home / "pp" / "evaluations").rglob("encoder-lora.jsonl.gz")
    found = pp("compare", str(file), str(file.with_name("majority.jsonl.gz")), "--json").json
    assert (found["task"], found["winner"]) == ("alpha", "a")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("alpha/encoder-lroa", "alpha/majority"),
            "no stored answers of 'encoder-lroa' to the test items of alpha; did you mean 'encoder-lora'",
        ),
        (("alpah/majority", "alpha/majority"), "unknown task 'alpah'; did you mean 'alpha'"),
        (("alpha", "alpha/majority"), "'alpha' is no system; give TASK/VARIANT"),
        (("none.jsonl.gz", "alpha/majority"), "none.jsonl.gz: no such file"),
        (("alpha/majority", "beta/majority"), "answers to different tasks: alpha, beta"),
        (("alpha/majority", "alpha/majority", "--metric", "object_exact"), "'object_exact' has no paired test; did you mean"),
        (("alpha/majority", "alpha/majority", "--margin", "0"), "a margin of 0.0 is not positive"),
    ],
)
def test_bad_input_is_one_line(pp, words: tuple[str, ...], message: str) -> None:
    said = pp("compare", *words)
    assert said.code == 2 and message in said.err and said.err.count("\n") == 1


def test_systems_that_answered_other_items_are_not_compared(pp, tmp_path: Path) -> None:
    write_predictions(tmp_path / "short.jsonl.gz", GOOD[:-3])
    said = pp("compare", str(tmp_path / "short.jsonl.gz"), "alpha/majority")
    assert said.code == 2
    assert "the systems answered different items (3 differ, first '0057'); evaluate both on the same dataset version" in said.err


def test_comparing_opens_no_test_split(pp, home: Path) -> None:
    pp("compare", "alpha/encoder-lora", "alpha/majority")
    assert not (home / "pp" / "ledger").exists()


def test_power_reads_how_systems_have_disagreed_from_the_newest_evaluation(pp, home: Path) -> None:
    found = pp("power", "alpha", "--json").json
    assert found["items"] == 24 and found["groups"] == 6, "as the splits of the small task are"
    differ = found["discordance"]
    assert differ["source"] == "observed" and "encoder-lora against tfidf-logreg on 60 items" in differ["how"]
    compared = pp("compare", "alpha/encoder-lora", "alpha/tfidf-logreg", "--json").json["comparison"]
    assert differ["value"] == compared["discordance"]
    assert [row["effect"] for row in found["effects"]] == [0.02, 0.05, 0.1, 0.15, 0.2]
    needed = [row["items_needed"] for row in found["effects"]]
    assert needed == sorted(needed, reverse=True) and needed[-1] > 24
    assert f"add {needed[0] - 24} items" in found["effects"][0]["advice"]
    assert found["detectable"] > 0.2 and not (home / "pp" / "ledger").exists()


def test_power_without_an_evaluation_uses_the_baselines(pp) -> None:
    assert "tfidf-logreg against majority" in pp("power", "beta", "--json").json["discordance"]["how"]


def test_what_is_given_counts_more_than_what_was_observed(pp) -> None:
    found = pp("power", "alpha", "--effect", "0.3", "--discordance", "0.3", "--icc", "0", "--json").json
    assert (found["discordance"]["source"], found["design"]) == ("given", found["design"] | {"value": 1.0, "source": "given"})
    (row,) = found["effects"]
    assert row["items_needed"] == required_items(0.3, 0.3) and row["power"] == pytest.approx(mcnemar_power(24, 0.3, 0.3), abs=1e-6)
    assert pp("power", "alpha", "--effect", "0.3", "--icc", "1", "--json").json["effects"][0]["items_needed"] > 3 * row["items_needed"]


def test_sampling_models_are_told_whether_trials_can_reach_it(pp) -> None:
    given = ("--discordance", "0.4", "--icc", "0", "--effect", "0.2", "--json")
    (few,) = pp("power", "alpha", "--trials", "1", "--between", "0.05", *given).json["effects"]
    assert "trials of each item instead of 1, or add" in few["advice"]
    (none,) = pp("power", "alpha", "--trials", "1", "--between", "0.9", *given).json["effects"]
    assert "trials cannot reach it" in none["advice"]
    (more,) = pp("power", "alpha", "--trials", "8", "--between", "0.05", *given).json["effects"]
    assert more["items_needed"] < few["items_needed"] and more["power"] > few["power"]


def test_the_power_table_names_its_assumptions(pp) -> None:
    said = pp("power", "alpha", "--effect", "0.1")
    assert said.code == 0 and "observed: encoder-lora against tfidf-logreg" in said.out
    assert "items needed" in said.out and "24 items in 6 groups" in said.out


def test_a_task_without_answers_is_planned_by_assumption_and_keeps_no_data_set(pp, home: Path) -> None:
    write_task(home / "tasks", "gamma", rows=ROWS)
    found = pp("power", "gamma", "--json").json
    assert found["discordance"]["source"] == found["design"]["source"] == "assumed"
    assert 2.5 <= found["design"]["value"] <= 12, "groups of four or more, alike at one half"
    assert not (home / "pp" / "datasets").exists()


def test_a_metric_of_speed_cannot_be_planned_without_answers(pp, home: Path) -> None:
    write_task(home / "tasks", "fast", rows=ROWS, more="primary_metric: {name: latency_ms_mean, higher_is_better: false}")
    said = pp("power", "fast")
    assert said.code == 2 and "nothing is known yet of how latency_ms_mean varies; run 'pp data build fast' first" in said.err


def test_a_metric_that_is_not_right_or_wrong_is_planned_by_the_variance_of_its_differences(pp, home: Path) -> None:
    file = write_task(home / "tasks", "beta", rows=ROWS, more="primary_metric: {name: field_f1.kind}") / "task.yaml"
    try:
        found = pp("power", "beta", "--effect", "0.1", "--json").json
        detectable = pp("compare", "beta/tfidf-logreg", "beta/majority", "--json").json["comparison"]["detectable"]
    finally:
        write_task(file.parent.parent, "beta", rows=ROWS)
    assert found["variance"]["source"] == "observed" and found["detectable_worst"] is None
    assert found["detectable"] == pytest.approx(detectable * (60 / 24) ** 0.5, rel=1e-3), "the same on 24 items instead of 60"
    assert found["effects"][0]["items_needed"] == pytest.approx(24 * (found["detectable"] / 0.1) ** 2, abs=1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("alpha", "--effect", "0"), "an effect of 0 is not between 0 and 1"),
        (("alpha", "--effect", "1.5"), "an effect of 1.5 is not between 0 and 1"),
        (("alpha", "--discordance", "2"), "Invalid value for '--discordance'"),
        (("alpah",), "unknown task 'alpah'"),
    ],
)
def test_a_plan_that_cannot_be_is_one_line(pp, words: tuple[str, ...], message: str) -> None:
    said = pp("power", *words)
    assert said.code == 2 and message in said.err and said.err.count("\n") == 1

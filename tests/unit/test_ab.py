"""A/B tests: what is told, that looking early finds no more false winners than alpha, and that it saves items."""

import json

import numpy as np
import pytest
from test_cli_compare import home  # noqa: F401  (a fixture)
from test_eval_predictions import answers, spec

from pp_assets.evaluation.ab import ab_test, path_plot, sequential_test
from pp_assets.evaluation.comparison_rows import nearly
from pp_resources.errors import UserError


def test_a_better_system_wins_with_its_sizes_and_power():
    found = ab_test(spec(), ("good", answers(0.9, 2)), ("poor", answers(0.6, 3)))
    assert found["winner"] == "good" and found["confidence"] == pytest.approx(1 - found["p_value"], abs=1e-6)
    size, c = found["effect_size"], found["comparison"]
    assert 0.2 < size["risk_difference"] < 0.4 and size["low"] > 0 and size["odds_ratio"] == pytest.approx(c["odds_ratio"])
    assert size["cohens_dz"] > 0 and size["cliffs_delta"] == pytest.approx(size["risk_difference"], abs=0.02)
    assert found["power"] > 0.99


def test_equal_systems_have_no_winner_and_no_power():
    found = ab_test(spec(), ("one", answers(0.8, 2)), ("same", answers(0.8, 2)))
    assert found["winner"] is None and found["confidence"] == 0.0 and found["power"] is None


def test_a_metric_of_the_corpus_has_power_too():
    found = ab_test(spec(), ("good", answers(0.9, 2)), ("poor", answers(0.5, 3)), "field_f1.intent")
    assert found["power"] > 0.9 and found["effect_size"]["odds_ratio"] is None


def test_looking_early_needs_fewer_items_and_agrees_with_the_whole_test():
    found = sequential_test(spec(), ("good", answers(0.95, 2)), ("poor", answers(0.5, 3)))
    assert found["winner"] == "a" and found["stopped"] and found["needed"] < found["of"] == 200
    lengths = [look["n"] for look in found["path"]]
    assert lengths == list(range(10, found["needed"] + 1, 10)), "a 20th of 200 groups at a time"
    assert all(look["low"] <= 0 <= look["high"] for look in found["path"][:-1]), "no earlier look had decided"
    turned = sequential_test(spec(), ("poor", answers(0.5, 3)), ("good", answers(0.95, 2)))
    assert turned["winner"] == "b" and turned["needed"] == found["needed"]


def test_groups_are_revealed_whole_and_the_seed_decides_the_order():
    rows = answers(0.9, 2, per_group=4), answers(0.6, 3, per_group=4)
    found = sequential_test(spec(), ("a", rows[0]), ("b", rows[1]), batch=5)
    assert all(look["n"] == 4 * look["groups"] for look in found["path"]) and found["path"][0]["groups"] == 5
    assert sequential_test(spec(), ("a", rows[0]), ("b", rows[1]), batch=5) == found
    assert sequential_test(spec(), ("a", rows[0]), ("b", rows[1]), batch=5, seed=99)["path"] != found["path"]


def test_equal_systems_seldom_get_a_winner_however_often_one_looks():
    false = 0
    for seed in range(40):
        one, other = answers(0.7, 2 * seed + 100, n=40), answers(0.7, 2 * seed + 101, n=40)
        false += sequential_test(spec(), ("a", one), ("b", other), batch=4)["stopped"]
    assert false <= 5, "40 tests with 10 looks each: more than 5 has a chance of 1 in 100 if all of alpha were used up"


def test_what_has_no_score_for_each_item_is_refused():
    sides = ("a", answers(0.9, 2)), ("b", answers(0.6, 3))
    for metric in ("field_f1.intent", "latency_ms_mean", "nothing"):
        with pytest.raises(UserError, match="no score between 0 and 1 for each item"):
            sequential_test(spec(), *sides, metric)


def test_the_path_is_drawn():
    found = sequential_test(spec(), ("a", answers(0.9, 2)), ("b", answers(0.6, 3)))
    picture = path_plot(found, ("a", "b"))
    assert picture.startswith(b"\x89PNG") and picture == path_plot(found, ("a", "b"))


def test_the_command_tells_and_writes(pp, tmp_path):
    words = ("ab", "alpha/encoder-lora", "alpha/majority", "--sequential", "--plot", str(tmp_path / "path.png"))
    found = pp(*words, "--json").json
    assert found["winner"] == "alpha/encoder-lora" and found["sequential"]["winner"] == "a"
    assert (tmp_path / "path.png").read_bytes().startswith(b"\x89PNG")
    said = pp(*words)
    assert said.code == 0 and f"after {found['sequential']['needed']} of 60 items" in said.out and "power" in said.out
    assert json.dumps(found) and np.isfinite(found["confidence"])


def test_a_plot_without_looks_is_refused(pp, tmp_path):
    said = pp("ab", "alpha/encoder-lora", "alpha/majority", "--plot", str(tmp_path / "p.png"))
    assert said.code == 2 and "--sequential" in said.err and not (tmp_path / "p.png").exists()


def test_no_chance_is_shown_as_certain():
    assert nearly(0.99999, 4) == ">0.9999" and nearly(0.9999, 4) == "0.9999" and nearly(0.5, 2) == "0.50" and nearly(0.997, 2) == ">0.99"

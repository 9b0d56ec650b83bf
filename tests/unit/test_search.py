"""The search itself, on a training that is a formula: what it draws, stops, keeps and resumes."""

import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from pp_assets.evaluation.stats import Clusters
from pp_assets.evaluation.tables import Table
from pp_assets.training.recipes import RECIPES
from pp_assets.training.search import Budget, Search, corrected_gain, score
from pp_assets.training.space import Range, as_params, space_of, start_of
from pp_resources.errors import UserError

# Rates of its own: the formula below is best at 1e-3, which a search must find.
RECIPE = replace(RECIPES["encoder-lora"], params=replace(RECIPES["encoder-lora"].params, lr=2e-3, head_lr=1e-3))
SPACE = space_of(RECIPE)
ROWS = 60


def formula(number, params, report):
    """Exact match grows with each epoch and is best at a rate of 1e-3."""
    for epoch in range(1, params["epochs"] + 1):
        quality = math.exp(-abs(math.log(params["lr"] / 1e-3))) * epoch / params["epochs"]
        report(
            {"epoch": epoch, "best_epoch": epoch, "val_primary": round(quality * ROWS) / ROWS, "val_loss": 1 - quality}, params["epochs"]
        )


def search(file: Path, seed: int = 1) -> Search:
    return Search(file, RECIPE, seed=seed, rows=ROWS)


def told(trials):
    return [replace(trial, seconds=0.0) for trial in trials]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    made = search(tmp_path_factory.mktemp("search") / "trials.db")
    heard = []
    made.run(Budget(14), formula, heard.append)
    assert told(heard) == told(made.trials)
    return made


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.family != "ensemble"])
def test_every_recipe_has_a_space_of_its_own_parameters_with_its_values_in_it(name):
    recipe = RECIPES[name]
    space = space_of(recipe)
    start = start_of(recipe, space)
    for parameter, allowed in space.items():
        assert allowed.low <= start[parameter] <= allowed.high if isinstance(allowed, Range) else start[parameter] in allowed, parameter
    assert as_params(recipe, start).keys() <= {field.name for field in fields(recipe.params)}
    assert replace(recipe.params, **as_params(recipe, start)) == recipe.params


def test_an_ensemble_has_nothing_to_tune():
    with pytest.raises(UserError, match="tune its members"):
        space_of(RECIPES["ensemble-vote"])


def test_the_first_trial_is_the_recipe_and_later_ones_are_in_the_space(whole):
    assert whole.trials[0].params == {name: getattr(RECIPE.params, name) for name in whole.trials[0].params}
    for trial in whole.trials:
        assert SPACE["lr"].low <= trial.params["lr"] <= SPACE["lr"].high and trial.params["r"] in SPACE["r"]
        assert trial.params["alpha"] / trial.params["r"] in SPACE["alpha_ratio"]


def test_bad_trials_are_stopped_early_and_the_best_one_is_better_than_the_recipe(whole):
    stopped = [t for t in whole.trials if t.outcome == "stopped"]
    assert stopped and all(t.epochs < t.params["epochs"] for t in stopped) and whole.trials[0].outcome == "done"
    assert all(t.epochs == t.params["epochs"] for t in whole.trials if t.outcome == "done")
    best = whole.best()
    assert best.value == max(t.value for t in whole.trials) > whole.trials[0].value
    assert set(whole.importances()) == set(SPACE) and sum(whole.importances().values()) == pytest.approx(1, abs=0.01)


def test_a_killed_search_goes_on_with_the_trials_of_one_that_was_not(whole, tmp_path):
    class Killed(BaseException):
        pass

    def dies(number, params, report):
        if number == 7:
            report({"epoch": 1, "best_epoch": 1, "val_primary": 1.0, "val_loss": 0.0}, 1)
            raise Killed
        formula(number, params, report)

    with pytest.raises(Killed):
        search(tmp_path / "trials.db").run(Budget(14), dies, lambda _t: None)
    resumed = search(tmp_path / "trials.db")
    assert len(resumed.trials) == 7
    resumed.run(Budget(9), formula, lambda _t: None)
    resumed.run(Budget(14), formula, lambda _t: None)
    assert told(resumed.trials) == told(whole.trials)


def test_another_seed_draws_other_trials(whole, tmp_path):
    other = search(tmp_path / "trials.db", seed=2)
    other.run(Budget(2), formula, lambda _t: None)
    assert other.trials[0].params == whole.trials[0].params and other.trials[1].params != whole.trials[1].params


def test_a_training_that_is_refused_costs_one_trial_but_the_first_ones_error_comes_out(tmp_path):
    def refuses(number, params, report):
        if number == 1:
            raise UserError("the loss is nan at step 3")
        formula(number, params, report)

    made = search(tmp_path / "one.db")
    made.run(Budget(3), refuses, lambda _t: None)
    assert [t.outcome for t in made.trials] == ["done", "the loss is nan at step 3", "done"] and made.trials[1].value is None
    with pytest.raises(UserError, match="no rows"):
        search(tmp_path / "two.db").run(Budget(3), lambda *_: (_ for _ in ()).throw(UserError("no rows")), lambda _t: None)


def test_minutes_end_a_search_over_all_its_parts(tmp_path):
    made = search(tmp_path / "trials.db")
    made.run(Budget(2), formula, lambda _t: None)
    assert Budget(100, minutes=sum(t.seconds for t in made.trials) / 60).spent(made.trials)
    assert not Budget(100, minutes=10).spent(made.trials) and Budget(2, minutes=10).spent(made.trials)


def test_loss_breaks_ties_and_no_more():
    assert score(0.5, 0.1, ROWS) > score(0.5, 0.2, ROWS) > score(0.5, float("inf"), ROWS) >= score(0.5, float("nan"), ROWS)
    assert score(0.5 + 1 / ROWS, 1e9, ROWS) > score(0.5, 0.0, ROWS)


def test_with_no_more_rows_right_the_recipe_stays(tmp_path):
    def equal(number, params, report):
        report({"epoch": 1, "best_epoch": 1, "val_primary": 0.9, "val_loss": 1.0 / (1 + number)}, 1)

    made = search(tmp_path / "trials.db")
    made.run(Budget(3), equal, lambda _t: None)
    assert made.best().number == 0


def test_choosing_among_equals_gains_nothing_and_a_real_gain_stays():
    rng = np.random.default_rng(0)
    clusters = Clusters.of([str(i // 2) for i in range(200)])
    equal = (rng.random((20, 200)) < 0.7).astype(float)
    naive = equal.mean(1).max() - equal[0].mean()
    mean, low, high = corrected_gain(shares(equal), clusters, 0)
    assert naive > 0.03 and mean < naive - 0.02 and low < 0 < high
    better = np.stack([equal[0], np.maximum(equal[0], (rng.random(200) < 0.5))])
    mean, low, _ = corrected_gain(shares(better), clusters, 0)
    assert low > 0 and mean == pytest.approx(better[1].mean() - better[0].mean(), abs=0.02)
    less, _, high = corrected_gain(shares(1 - better), clusters, 0, sign=-1)
    assert high < 0 and less == pytest.approx(-mean)


def shares(hits):
    """A table for each system, of (systems, rows) of 0 and 1."""
    return [Table(np.stack([row, np.ones_like(row)], axis=1), "") for row in hits]


def test_where_less_is_better_the_least_is_found(tmp_path):
    def rising(number, params, report):
        report({"epoch": 1, "best_epoch": 1, "val_primary": 0.5 - 0.1 * number, "val_loss": 1.0}, 1)

    made = Search(tmp_path / "trials.db", RECIPE, seed=1, rows=ROWS, sign=-1)
    made.run(Budget(3), rising, lambda _t: None)
    assert made.best().number == 2 and made.best().value == pytest.approx(0.3)

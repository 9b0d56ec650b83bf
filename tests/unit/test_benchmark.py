"""Benchmarks: models take turns, times and ratios are those of a known clock, and the command puts quality beside cost."""

import itertools
import json

import numpy as np
import pytest
from command_line import command_line
from small_task import write_task

from pp_assets.benchmarks import Options, benchmark
from pp_assets.evaluation.benchmark import WARM_UP, cost, measure, summary
from pp_assets.evaluation.stats.groups import generator
from pp_assets.evaluation.stats.location import hodges_lehmann, paired_ratio
from pp_assets.pipeline import Pipeline
from pp_resources.errors import UserError
from pp_resources.models.interface import Prediction
from pp_resources.settings import Settings

TEXTS = [f"text {i}" for i in range(20)]


class Clock:
    """Time that passes only while a model answers."""

    def __init__(self):
        self.now, self.asked = 0.0, []

    def __call__(self):
        return self.now


class Model:
    def __init__(self, name, clock, seconds, fixed=0.0):
        self.name, self.clock, self.seconds, self.fixed = name, clock, seconds, fixed

    def predict(self, inputs, *, distributions=False):
        self.clock.asked.append((self.name, len(inputs)))
        # Texts differ in length, and the machine is busy now and then: both models feel that alike.
        self.clock.now += self.fixed + sum(self.seconds * (1 + int(text.split()[1]) % 3) for text in inputs)
        return [Prediction("{}", tokens_in=10, tokens_out=2) for _ in inputs]


def measured(slower=2.0):
    clock = Clock()
    models = {"fast": Model("fast", clock, 0.01, 0.01), "slow": Model("slow", clock, 0.01 * slower, 0.01 * slower)}
    return clock, measure(models, TEXTS, batch=8, repeats=4, clock=clock)


def test_models_warm_up_and_then_take_turns():
    clock, _ = measured()
    assert clock.asked[:2] == [("fast", WARM_UP), ("slow", WARM_UP)]
    alone = [name for name, n in clock.asked[2:] if n == 1][: 4 * len(TEXTS)]
    assert alone[:8] == ["fast", "slow", "slow", "fast", "slow", "fast", "fast", "slow"]
    assert alone.count("fast") == alone.count("slow") == 2 * len(TEXTS)
    batches = [name for name, n in clock.asked if n == 8][::2]
    assert batches == ["fast", "slow", "slow", "fast", "slow", "fast", "fast", "slow"]


def test_times_rates_and_tokens_are_those_of_the_clock():
    _, timings = measured()
    found = summary(timings, seed=1)
    fast, slow = found["fast"], found["slow"]
    assert fast["latency_ms"]["p50"]["value"] == pytest.approx(30.0) and fast["latency_ms"]["p99"]["value"] <= 40.0 + 1e-9
    assert fast["latency_ms"]["p50"]["low"] <= 30 <= fast["latency_ms"]["p50"]["high"]
    assert fast["latency_ms"]["p99"]["high"] is None, "20 texts bound no 99th percentile"
    seconds = 3 * 0.01 + 0.01 * sum(1 + i % 3 for i in range(20))
    assert fast["items_per_s"]["batched"] == pytest.approx(20 / seconds)
    assert fast["items_per_s"]["batched"] > fast["items_per_s"]["alone"]
    assert fast["tokens_out_per_s"] == pytest.approx(40 / seconds)
    assert slow["ratio"]["value"] == pytest.approx(2.0) and fast["ratio"]["value"] == 1.0


def test_cost_needs_a_price_and_says_so():
    assert cost(0.36, 1.0)["usd_per_1000"] == pytest.approx(0.1)
    found = cost(0.36, None)
    assert found["usd_per_1000"] is None and "no price is known" in found["reason"]


@pytest.mark.parametrize("n", [2, 5, 30])
def test_hodges_lehmann_is_the_median_of_all_pairwise_averages(n):
    values = np.random.default_rng(n).normal(size=n)
    pairs = [(a + b) / 2 for a, b in itertools.combinations_with_replacement(values, 2)]
    assert hodges_lehmann(values) == pytest.approx(np.median(pairs))


def test_a_ratio_covers_the_truth_and_bears_outliers():
    rng, held = np.random.default_rng(0), 0
    for trial in range(20):
        base = rng.lognormal(0, 0.5, 20)
        other = base * 1.5 * rng.lognormal(0, 0.2, 20)
        other[:1] *= 20  # something else held this call up
        found = paired_ratio(other, base, generator(trial, "test"))
        held += found.low <= 1.5 <= found.high
    assert held >= 15, "20 intervals of 95 %, one of twenty values in each far off"
    assert found.high < 2.2, "a mean of the ratios would be near 3"


def test_a_ratio_of_nothing_is_none():
    assert paired_ratio(np.array([1.0]), np.array([1.0]), generator(0, "x")).value is None
    assert "not positive" in paired_ratio(np.array([1.0, 0.0]), np.array([1.0, 1.0]), generator(0, "x")).reason


def test_nothing_trained_is_told(tmp_path):
    write_task(tmp_path / "tasks", "alpha")
    with pytest.raises(UserError, match="no variant is trained"):
        benchmark(Pipeline(Settings(home=tmp_path / "pp", tasks=tmp_path / "tasks", threads=1)), "alpha", [], Options())


@pytest.mark.slow
def test_the_command_puts_quality_beside_cost(tmp_path, capfd):
    write_task(tmp_path / "tasks", "alpha", more="params: {encoder-frozen: {epochs: 2}}")
    pp = command_line(tmp_path, capfd)
    assert pp("run", "alpha").code == 0
    openings = (tmp_path / "pp" / "ledger" / "test_openings.jsonl").read_text()
    said = pp("bench", "alpha", "--items", "6", "--repeats", "2", "--hourly", "0.4", "--json")
    assert said.code == 0, said.err
    one = said.json["variants"]["encoder-frozen"]
    assert one["latency_ms"]["p50"]["value"] > 0 and one["items_per_s"]["batched"] > 0 and one["ratio"]["value"] == 1.0
    assert one["memory"]["rss_mb"] > 100 and one["cost"]["usd_per_1000"] > 0 and one["quality"]["n"] > 0
    assert said.json["hardware"]["threads"] >= 1
    (file,) = (tmp_path / "pp" / "benchmarks" / "alpha").glob("*.json")
    assert json.loads(file.read_text()) == said.json
    assert (tmp_path / "pp" / "ledger" / "test_openings.jsonl").read_text() == openings, "no test item is asked"
    told = pp("bench", "alpha", "--items", "4", "--repeats", "1", "--no-memory")
    assert "no price is known" in told.out and "p95 ms" in told.out

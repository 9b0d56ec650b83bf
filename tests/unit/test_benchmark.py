"""Benchmarks: models take turns, times and ratios are those of a known clock, and the command puts quality beside cost."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import command_line
from small_task import write_task

from pp_assets.benchmarks import Options, benchmark, profile
from pp_assets.evaluation.benchmark import WARM_UP, Timing, machine_cost, measure, summary, token_cost
from pp_assets.evaluation.stats.groups import generator
from pp_assets.evaluation.stats.location import hodges_lehmann, paired_ratio
from pp_assets.pipeline import Pipeline
from pp_gateway.cli.bench import _short, _show
from pp_resources.errors import UserError
from pp_resources.models.interface import Prediction
from pp_resources.models.price import Price
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


def test_the_machine_needs_a_price_and_says_so():
    assert machine_cost(0.36, 1.0)["usd_per_1000"] == pytest.approx(0.1)
    found = machine_cost(0.36, None)
    assert found["usd_per_1000"] is None and "unpriced" in found["reason"] and "--hourly" in found["reason"]


def test_tokens_are_priced_as_a_provider_does():
    writes = Timing(tokens_in=[100, 200, 300], tokens_out=[10, 20, 60])
    found = token_cost(writes, Price(0.15, 0.60))
    assert found["usd_per_1000"] == pytest.approx(1000 * (200 * 0.15 + 30 * 0.60) / 1e6)
    assert found["low"] < found["usd_per_1000"] < found["high"] and found["reason"] == ""
    reads = token_cost(Timing(tokens_in=[100, 200], tokens_out=[0, 0]), Price(0.15, 0.60))
    assert reads["usd_per_1000"] == pytest.approx(1000 * 150 * 0.15 / 1e6) and "it generates none" in reads["reason"]
    assert token_cost(writes, Price(0.0, 0.0))["usd_per_1000"] == 0.0, "a price of nothing is a price"
    for timing, price in ((writes, None), (Timing(tokens_in=[0], tokens_out=[0]), Price(1, 1))):
        unpriced = token_cost(timing, price)
        assert unpriced["usd_per_1000"] is None and unpriced["reason"].startswith("unpriced")


def test_tokens_are_means_over_texts_or_none_with_a_reason():
    _, timings = measured()
    found = summary(timings, seed=1)["fast"]["tokens"]
    assert found["in"]["value"] == 10.0 and found["out"]["value"] == 2.0 and found["out"]["n"] == len(TEXTS)
    for timing in timings.values():
        timing.tokens_out = [0] * len(TEXTS)
    silent = summary(timings, seed=1)["fast"]
    assert silent["tokens"]["out"]["value"] is None and silent["tokens"]["out"]["reason"] == "generates no tokens"
    assert silent["tokens_out_per_s"] is None


def test_one_price_of_two_is_refused(tmp_path, capfd):
    write_task(tmp_path / "tasks", "alpha")
    said = command_line(tmp_path, capfd)("bench", "alpha", "--price-in", "0.15")
    assert said.code == 2 and "one price of two is given" in said.err and len(said.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0"), (1234.5, "1234"), (99.96, "100.0"), (12.34, "12.3"), (0.12345, "0.123"), (0.000123, "0.000123")],
)
def test_numbers_have_three_digits_and_no_exponent(value, shown):
    assert _short(value) == shown


def report(**changes):
    """What the command shows of two variants, one of which is not measured in full."""
    _, timings = measured()
    found = summary(timings, seed=1)
    for name, one in found.items():
        one |= {"memory": {"rss_mb": 1234.5, "reason": ""}, "cost": {"machine": machine_cost(0.1, None)}}
        one["cost"]["tokens"] = token_cost(timings[name], Price(0.15, 0.6))
        one["quality"] = {"metric": "object_exact_match", "value": 0.5, "low": 0.4, "high": 0.6, "n": 151, "reason": ""}
    found["slow"]["quality"] = {"value": None, "reason": "not evaluated: run 'pp eval alpha --variant slow'"}
    found = {"encoder-frozen": found["fast"], "ensemble-weighted": found["slow"]}
    document = {"task": "alpha", "items": 20, "batch": 8, "repeats": 4, "reference": "encoder-frozen", "variants": found}
    return {
        **document,
        "hardware": {**profile(Settings(Path(), Path(), 1)), "processor": "Some(R) Processor(R) CPU @ 2.20GHz", "load": 0.5, **changes},
    }


def test_tables_fit_a_window_of_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    _show(report(), 12.0)
    out = capsys.readouterr().out
    told = [row for row in out.splitlines() if row.startswith(("encoder-frozen", "ensemble-weighted"))]
    assert len(told) == 6 and max(map(len, told)) <= 80, out
    assert not any(row.startswith("  ") for row in out.splitlines()), "no cell is folded into a second line"
    for word in ("Some(R) Processor(R)", "30.0 [", "2.00 [", "unpriced", "0.0027", "0.500 [0.400, 0.600]", "151", "not evaluated"):
        assert word in out, out
    assert "US$ by the hour: unpriced" in out and out.count("unpriced: it runs on this machine") == 1, "a shared reason is told once"
    assert "(ensemble-weighted)" in out and "busy" not in out and "all items are equal" not in out


def test_a_busy_machine_is_told(capsys):
    _show(report(load=9.3, cores=2), 12.0)
    assert "the machine was busy (load 9.3 on 2 cores)" in capsys.readouterr().out


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


def test_a_process_is_not_charged_with_what_its_parent_held():
    held = bytearray(400 * 1024**2)
    held[::4096] = b"x" * len(held[::4096])
    code = "from pp_assets.benchmarks import peak_mb; small = peak_mb(); a = bytearray(b'x') * (100 * 1024**2); print(small, peak_mb())"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    small, large = map(float, said.stdout.split())
    assert small < 400 and 90 < large - small < 110


@pytest.mark.slow
def test_the_command_puts_quality_beside_cost(tmp_path, capfd):
    write_task(tmp_path / "tasks", "alpha", more="params: {encoder-frozen: {epochs: 2}}")
    pp = command_line(tmp_path, capfd)
    assert pp("run", "alpha").code == 0
    openings = (tmp_path / "pp" / "ledger" / "test_openings.jsonl").read_text()
    said = pp("bench", "alpha", "--items", "6", "--repeats", "2", "--hourly", "0.4", "--price-in", "1", "--price-out", "2", "--json")
    assert said.code == 0, said.err
    one = said.json["variants"]["encoder-frozen"]
    assert one["latency_ms"]["p50"]["value"] > 0 and one["items_per_s"]["batched"] > 0 and one["ratio"]["value"] == 1.0
    assert one["memory"]["rss_mb"] > 100 and one["quality"]["n"] > 0
    assert one["cost"]["machine"]["usd_per_1000"] > 0 and one["cost"]["tokens"]["usd_per_1000"] > 0
    assert one["tokens"]["in"]["value"] > 5 and one["tokens"]["out"]["value"] is None
    assert said.json["prices"] == {"usd_per_hour": 0.4, "usd_per_million_tokens_in": 1.0, "usd_per_million_tokens_out": 2.0}
    assert said.json["hardware"]["threads"] >= 1
    (file,) = (tmp_path / "pp" / "benchmarks" / "alpha").glob("*.json")
    assert json.loads(file.read_text()) == said.json
    assert (tmp_path / "pp" / "ledger" / "test_openings.jsonl").read_text() == openings, "no test item is asked"
    told = pp("bench", "alpha", "--items", "4", "--repeats", "1", "--no-memory")
    assert "by the hour: unpriced" in told.out and "by tokens: unpriced" in told.out and "p95 ms" in told.out

"""How fast models answer, one text at a time and in batches: measured in turn, so that what else the machine does falls on all alike.

After a warm-up, the models change places within each text (ABBA), and their order turns from text to text. A text's time is the mean of its
calls; texts are the sample, so quantiles and ratios have intervals over texts.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pp_assets.evaluation.stats.groups import generator
from pp_assets.evaluation.stats.intervals import quantile_interval
from pp_assets.evaluation.stats.location import paired_ratio
from pp_assets.evaluation.stats.nested import nested_mean
from pp_resources.models.interface import Predictor
from pp_resources.models.price import Price
from pp_resources.progress import steps

WARM_UP = 4  # texts; the first call prepares things once
QUANTILES = (0.5, 0.95, 0.99)
Clock = Callable[[], float]


@dataclass
class Timing:
    """One model: seconds of each text asked alone (mean of its calls) and of each batch run; the tokens that it counts in each text."""

    alone: list[float] = field(default_factory=list)
    batched: list[float] = field(default_factory=list)
    tokens_in: list[int] = field(default_factory=list)
    tokens_out: list[int] = field(default_factory=list)


def measure(
    models: Mapping[str, Predictor], texts: Sequence[str], *, batch: int = 32, repeats: int = 4, clock: Clock = time.perf_counter
) -> dict[str, Timing]:
    """Ask every model for every text alone, twice, and for all texts in batches of `batch`, `repeats` times."""
    names = list(models)
    for model in models.values():
        model.predict(texts[:WARM_UP])
    found = {name: Timing() for name in names}
    with steps("one text at a time", len(texts)) as advance:
        for i, text in enumerate(texts):
            order = names if i % 2 == 0 else names[::-1]
            spent = dict.fromkeys(names, 0.0)
            for name in (*order, *order[::-1]):
                spent[name] += _seconds(models[name], [text], clock)
            for name in names:
                found[name].alone.append(spent[name] / 2)
            advance("")
    parts = [texts[i : i + batch] for i in range(0, len(texts), batch)]
    with steps("in batches", repeats) as advance:
        for turn in range(repeats):
            for name in names if turn % 4 in (0, 3) else names[::-1]:
                began = clock()
                answers = [answer for part in parts for answer in models[name].predict(part)]
                found[name].batched.append(clock() - began)
                found[name].tokens_in = [answer.tokens_in for answer in answers]
                found[name].tokens_out = [answer.tokens_out for answer in answers]
            advance("")
    return found


def summary(timings: Mapping[str, Timing], seed: int) -> dict[str, dict[str, Any]]:
    """By model: `latency_ms` alone with its quantiles and their intervals, `items_per_s` alone and in batches (also of the slowest and
    the fastest run), mean `tokens` of a text, tokens a second in batches, and `ratio`, how many times as slow the model is as the first."""
    reference = np.array(next(iter(timings.values())).alone)
    return {name: _one(name, timing, reference, seed) for name, timing in timings.items()}


def machine_cost(seconds: float, hourly: float | None) -> dict[str, Any]:
    """US dollars of 1,000 answers that take so many seconds each on a machine with this price an hour; none without a price, said so."""
    if hourly is None:
        return {"usd_per_1000": None, "reason": "unpriced: it runs on this machine, and --hourly says what that costs"}
    return {"usd_per_1000": seconds * 1000 / 3600 * hourly, "reason": ""}


def token_cost(timing: Timing, price: Price | None) -> dict[str, Any]:
    """US dollars of the tokens of 1,000 answers, with the interval of a mean over texts; none without a price or a token, said so."""
    nothing = {"usd_per_1000": None, "low": None, "high": None}
    if price is None:
        return {**nothing, "reason": "unpriced: --price-in and --price-out say what a provider takes for a million tokens"}
    if not any(timing.tokens_in) and not any(timing.tokens_out):
        return {**nothing, "reason": "unpriced: the model counts no tokens"}
    each = nested_mean(np.array([1000 * price.of(*pair) for pair in zip(timing.tokens_in, timing.tokens_out)]))
    reads = "" if any(timing.tokens_out) else "of the tokens that it reads: it generates none"
    return {"usd_per_1000": each.value, "low": each.low, "high": each.high, "reason": reads}


def _one(name: str, timing: Timing, reference: np.ndarray, seed: int) -> dict[str, Any]:
    alone, whole = np.array(timing.alone), float(np.median(timing.batched))
    n, quantiles = len(alone), {}
    for q in QUANTILES:
        low, high, _ = quantile_interval(alone * 1000, q)
        quantiles[f"p{round(q * 100)}"] = {"value": float(np.quantile(alone, q) * 1000), "low": low, "high": high, "n": n}
    ratio = paired_ratio(alone, reference, generator(seed, "benchmark", name))
    rates = {"batched": n / whole, "slowest_run": n / max(timing.batched), "fastest_run": n / min(timing.batched)}
    return {
        "latency_ms": quantiles,
        "items_per_s": {"alone": n / float(alone.sum()), **rates},
        "seconds_per_item": whole / n,
        "tokens": {"in": _tokens(timing.tokens_in, "counts no tokens"), "out": _tokens(timing.tokens_out, "generates no tokens")},
        "tokens_in_per_s": sum(timing.tokens_in) / whole if any(timing.tokens_in) else None,
        "tokens_out_per_s": sum(timing.tokens_out) / whole if any(timing.tokens_out) else None,
        "ratio": ratio._asdict(),
    }


def _tokens(counts: Sequence[int], none: str) -> dict[str, Any]:
    if not any(counts):
        return {"value": None, "low": None, "high": None, "n": 0, "reason": none}
    found = nested_mean(np.array(counts, dtype=float))
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.items, "reason": found.reason}


def _seconds(model: Predictor, texts: Sequence[str], clock: Clock) -> float:
    began = clock()
    model.predict(texts)
    return clock() - began

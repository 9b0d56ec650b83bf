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
from pp_resources.models.interface import Predictor
from pp_resources.progress import steps

WARM_UP = 4  # texts; the first call prepares things once
QUANTILES = (0.5, 0.95, 0.99)
Clock = Callable[[], float]


@dataclass
class Timing:
    """One model: seconds of each text asked alone (mean of its calls), of each batch run, and the tokens of one pass over all texts."""

    alone: list[float] = field(default_factory=list)
    batched: list[float] = field(default_factory=list)
    tokens_in: int = 0
    tokens_out: int = 0


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
                found[name].tokens_in, found[name].tokens_out = (
                    sum(getattr(answer, side) for answer in answers) for side in ("tokens_in", "tokens_out")
                )
            advance("")
    return found


def summary(timings: Mapping[str, Timing], seed: int) -> dict[str, dict[str, Any]]:
    """By model: `latency_ms` alone with its quantiles and their intervals, `items_per_s` alone and in batches, tokens a second in batches,
    and `ratio`, how many times as long a text takes as with the first model."""
    reference = np.array(next(iter(timings.values())).alone)
    return {name: _one(name, timing, reference, seed) for name, timing in timings.items()}


def cost(seconds: float, hourly: float | None) -> dict[str, Any]:
    """US dollars of 1,000 answers that take so many seconds each on a machine with this price an hour; none without a price, said so."""
    if hourly is None:
        return {"usd_per_1000": None, "reason": "no price is known: it runs on this machine; --hourly gives one"}
    return {"usd_per_1000": seconds * 1000 / 3600 * hourly, "reason": ""}


def _one(name: str, timing: Timing, reference: np.ndarray, seed: int) -> dict[str, Any]:
    alone, whole = np.array(timing.alone), float(np.median(timing.batched))
    n, quantiles = len(alone), {}
    for q in QUANTILES:
        low, high, _ = quantile_interval(alone * 1000, q)
        quantiles[f"p{round(q * 100)}"] = {"value": float(np.quantile(alone, q) * 1000), "low": low, "high": high, "n": n}
    ratio = paired_ratio(alone, reference, generator(seed, "benchmark", name))
    return {
        "latency_ms": quantiles,
        "items_per_s": {"alone": n / float(alone.sum()), "batched": n / whole},
        "seconds_per_item": whole / n,
        "tokens_in_per_s": timing.tokens_in / whole,
        "tokens_out_per_s": timing.tokens_out / whole if timing.tokens_out else None,
        "ratio": ratio._asdict(),
    }


def _seconds(model: Predictor, texts: Sequence[str], clock: Clock) -> float:
    began = clock()
    model.predict(texts)
    return clock() - began

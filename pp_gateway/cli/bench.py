"""`pp bench`: speed, memory, cost and quality of the trained variants of a task, side by side."""

import math
import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, interval, line, number, table
from pp_gateway.cli.run import Variants
from pp_gateway.cli.stages import running
from pp_gateway.cli.tasks import TaskArgument, check_variants, settle


def bench(
    task: TaskArgument,
    variant: Variants = None,
    items: Annotated[int, typer.Option(min=2, help="Validation rows to ask.")] = 64,
    batch: Annotated[int, typer.Option(min=1, help="Texts of a batch.")] = 32,
    repeats: Annotated[int, typer.Option(min=1, help="Runs over all texts in batches.")] = 4,
    hourly: Annotated[float | None, typer.Option(min=0, help="US dollars that an hour of this machine costs.")] = None,
    price_in: Annotated[float | None, typer.Option(min=0, help="US dollars that a provider takes for a million tokens read.")] = None,
    price_out: Annotated[float | None, typer.Option(min=0, help="The same for a million tokens written.")] = None,
    memory: Annotated[bool, typer.Option(help="Measure peak memory, in a process for each variant.")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Measure what trained variants cost and show how good they are: latency, throughput, tokens, memory, price, primary metric.

    After a warm-up the variants answer in turn (ABBA), one text at a time and in batches; ratios are against the first variant. Asks
    validation rows, no test item. --hourly prices the time on this machine, --price-in with --price-out the same tokens at a provider.

    Examples:

        pp bench support-triage

        pp bench support-triage -v encoder-lora -v lora-r8 --hourly 0.40 --json

        pp bench support-triage --price-in 0.15 --price-out 0.60
    """
    from pp_assets.benchmarks import Options, benchmark
    from pp_resources.models.price import both

    check_variants(variant or [])
    price = both(price_in, price_out, "--price-in, --price-out")
    out = Output(as_json)
    settings, name = settle(task)
    began = time.monotonic()
    with running(settings) as (runner, log):
        log.terminal.now("bench")
        found = benchmark(runner.pipeline, name, variant or [], Options(items, batch, repeats, hourly, price, memory))
    if not out.result(found):
        _show(found, time.monotonic() - began)


def _show(found: dict[str, Any], seconds: float) -> None:
    variants = found["variants"].items()
    line(f"{found['task']}: {found['items']} validation rows, batches of {found['batch']}, asked {found['repeats']} times")
    line(_machine(found["hardware"]))
    line()
    _table("one text at a time", ("p50 ms", "p95 ms", "p99 ms"), [(name, *_latency(one)) for name, one in variants])
    speed = ("items/s", "tokens in", "out", "out/s", "memory MB", "times as slow")
    _table("in batches", speed, [(name, *_rates(one)) for name, one in variants])
    metric = next((one["quality"]["metric"] for _, one in variants if one["quality"]["value"] is not None), "quality")
    rows = [(name, *_price(one), *_quality(one)) for name, one in variants]
    _table("1000 answers", ("US$ by the hour", "US$ by tokens", metric, "n"), rows)
    for note in _notes(found):
        line(note)
    line(f"times as slow: against {found['reference']}, one text at a time; intervals are of 95 %, over texts; measured in {seconds:.0f} s")


def _table(what: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """One row a variant, numbers to the right; no name is folded."""
    table((what, *head), rows, right=head, whole=(what,))
    line()


def _machine(place: dict[str, Any]) -> str:
    size = f"{place['cores']} cores, {place['memory_gb']:.0f} GB, threads {place['threads']}, {place['device']}"
    return f"on {place['processor'] or place['machine']}: {size}, load {place['load']:.1f}, torch {place['versions']['torch']}"


def _notes(found: dict[str, Any]) -> list[str]:
    """What the tables have no room for: why a cell is empty, once for all variants that share a reason; a machine that was busy."""
    place: dict[str, Any] = found["hardware"]
    told: dict[tuple[str, str], list[str]] = {}
    for name, one in found["variants"].items():
        parts = {
            "US$ by the hour": one["cost"]["machine"],
            "US$ by tokens": one["cost"]["tokens"],
            "memory": one["memory"],
            "quality": one["quality"],
        }
        parts |= {f"tokens {side}": cell for side, cell in one["tokens"].items() if cell["value"] is None} | {"times as slow": one["ratio"]}
        for part, cell in parts.items():
            if cell["reason"]:
                told.setdefault((part, cell["reason"]), []).append(name)
    notes = []
    for (part, reason), names in told.items():
        whose = "" if len(names) == len(found["variants"]) else f" ({', '.join(names)})"
        notes.append(f"{part}: {reason}{whose}")
    if place["load"] > place["cores"]:
        notes.append(f"the machine was busy (load {place['load']:.1f} on {place['cores']} cores): times are long, ratios still fair")
    return notes


def _latency(one: dict[str, Any]) -> tuple[str, ...]:
    return tuple(_bounded(one["latency_ms"][q]) for q in ("p50", "p95", "p99"))


def _rates(one: dict[str, Any]) -> tuple[str, ...]:
    tokens = [_short(one["tokens"][side]["value"]) for side in ("in", "out")]
    rates = [_short(one["items_per_s"]["batched"]), *tokens, _short(one["tokens_out_per_s"])]
    return (*rates, number(one["memory"]["rss_mb"], 0), _bounded(one["ratio"]))


def _price(one: dict[str, Any]) -> tuple[str, str]:
    by_hour, by_tokens = one["cost"]["machine"]["usd_per_1000"], one["cost"]["tokens"]["usd_per_1000"]
    return tuple("unpriced" if value is None else _short(value) for value in (by_hour, by_tokens))  # type: ignore[return-value]


def _quality(one: dict[str, Any]) -> tuple[str, str]:
    found = one["quality"]
    return ("–", "–") if found["value"] is None else (interval(found["value"], found["low"], found["high"]), str(found["n"]))


def _bounded(found: dict[str, Any]) -> str:
    """A number with its interval; of a quantile that few texts do not bound on one side, that end is open."""
    if found["value"] is None:
        return "–"
    return f"{_short(found['value'])} [{_short(found['low'])}, {_short(found['high'])}]"


def _short(value: float | None) -> str:
    """Three digits that say something, and never an exponent."""
    if value is None:
        return "–"
    if not value or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"

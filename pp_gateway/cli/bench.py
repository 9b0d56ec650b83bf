"""`pp bench`: speed, memory, cost and quality of the trained variants of a task, side by side."""

import time
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
    memory: Annotated[bool, typer.Option(help="Measure peak memory, in a process for each variant.")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Measure what trained variants cost and show how good they are: latency, throughput, tokens, memory, price, primary metric.

    After a warm-up the variants answer in turn (ABBA), one text at a time and in batches; ratios are against the first variant. Asks
    validation rows, no test item.

    Examples:

        pp bench support-triage

        pp bench support-triage -v encoder-lora -v lora-r8 --hourly 0.40 --json
    """
    from pp_assets.benchmarks import Options, benchmark

    check_variants(variant or [])
    out = Output(as_json)
    settings, name = settle(task)
    began = time.monotonic()
    with running(settings) as (runner, log):
        log.terminal.now("bench")
        found = benchmark(runner.pipeline, name, variant or [], Options(items, batch, repeats, hourly, memory))
    if not out.result(found):
        _show(found, time.monotonic() - began)


def _show(found: dict[str, Any], seconds: float) -> None:
    place = found["hardware"]
    line(f"{found['task']}: {found['items']} validation rows; {place['processor'] or place['machine']}, threads {place['threads']}")
    head = ("variant", "p50 ms", "p95 ms", "p99 ms", "x slower than the first", "items/s", "in batches", "tokens out/s", "memory MB")
    variants = found["variants"].items()
    table(head, [(name, *_speed(one)) for name, one in variants], right=head[1:], whole=("variant",))
    metric = next((one["quality"]["metric"] for _, one in variants if one["quality"]["value"] is not None), "quality")
    rows = [(name, _price(one), _quality(one)) for name, one in variants]
    table(("variant", "US$ of 1000 answers", metric), rows, whole=("variant",))
    line(f"measured in {seconds:.0f} s; p50 to p99 are of one text at a time")


def _speed(one: dict[str, Any]) -> tuple[str, ...]:
    quantiles = [number(one["latency_ms"][q]["value"], 1) for q in ("p50", "p95", "p99")]
    ratio, rate = one["ratio"], one["items_per_s"]
    times = ratio["reason"] or f"{number(ratio['value'], 2)} [{number(ratio['low'], 2)}, {number(ratio['high'], 2)}]"
    rest = (number(rate["alone"], 1), number(rate["batched"], 1), number(one["tokens_out_per_s"], 0), number(one["memory"]["rss_mb"], 0))
    return (*quantiles, times, *rest)


def _price(one: dict[str, Any]) -> str:
    return one["cost"]["reason"] or number(one["cost"]["usd_per_1000"], 5)


def _quality(one: dict[str, Any]) -> str:
    found = one["quality"]
    return found["reason"] or f"{interval(found['value'], found['low'], found['high'])}, n {found['n']}"

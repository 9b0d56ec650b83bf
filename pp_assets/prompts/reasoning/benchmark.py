"""Prompts with examples that have reasoning, beside the same prompts without any reasoning."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pp_assets.prompts.candidate import Candidate, Judged, Origin
from pp_assets.prompts.measured import Beside, beside
from pp_assets.prompts.reasoning.consistency import Consistency, consistency
from pp_assets.prompts.reasoning.extract import Steps
from pp_assets.prompts.reasoning.rationales import reasoned_wording
from pp_assets.prompts.search.arena import Arena
from pp_assets.prompts.wording import Wording
from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec


@dataclass(frozen=True)
class Pair:
    """A prompt that asks for steps and its twin that does not: the same words and the same examples. What the twin lacks is all that
    reasoning is."""

    reasoned: Candidate
    plain: Candidate
    source: str
    shots: int


@dataclass(frozen=True)
class Benchmark:
    """Both of a pair on the same rows; `beside` is the reasoned one against its twin."""

    pair: Pair
    reasoned: Judged
    plain: Judged
    beside: Beside
    consistency: Consistency


def pair_of(spec: TaskSpec, start: Wording, examples: Sequence[Steps] = (), source: str = "no examples") -> Pair:
    """The wording with these examples, with and without their steps."""
    shots = tuple(one.shown for one in examples)
    bare = replace(start, shots=tuple(replace(one, reasoning=()) for one in shots))
    reasoned = replace(reasoned_wording(spec, start), shots=shots)
    note = f"{len(shots)} examples, steps {source}" if shots else source
    return Pair(
        Candidate.of(spec, reasoned, Origin("reasoning", note=f"with reasoning, {note}")),
        Candidate.of(spec, bare, Origin("reasoning:without", note=f"without reasoning, {note}")),
        source,
        len(shots),
    )


def benchmark(spec: TaskSpec, arena: Arena, pair: Pair, rows: Sequence[Example]) -> Benchmark:
    """Judge both on rows that no example was made from."""
    reasoned, plain = arena.judge(pair.reasoned, rows), arena.judge(pair.plain, rows)
    return Benchmark(pair, reasoned, plain, beside(spec, reasoned, plain), consistency(spec, reasoned))

"""Prompt engineering: searches of wordings, reasoning and examples, each under one gate; and studies beside the catalogue, with the same
reports: what each part of a prompt buys, and why it fails and what helps. What they run is loaded when they run."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import Field

from pp_assets.pipelines import estimates
from pp_assets.pipelines.entry import Entry, Estimate, Options
from pp_assets.pipelines.report import Report

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

ITERATIVE, COT, FEWSHOT = "prompt-engineering-iterative", "prompt-engineering-cot", "prompt-engineering-fewshot"
IMPACT, EXPLAIN = "prompt-impact", "prompt-explain"
INPUTS = ("the task's evaluated inputs ('pp data inputs TASK')",)


class Studied(Options):
    target: str = Field("base", description="the model that prompts are tried on: base is the task's language model on this machine")
    writer: str | None = Field(None, description="a model that writes, where one is there")
    calls: int = Field(1000, ge=1, description="the most model calls, those of the test aside")
    seed: int | None = Field(None, ge=0, description="of what is drawn; default: the task's")


class Iterative(Studied):
    strategy: str = Field("halving", description="the way of searching, as for 'pp prompt optimise'")
    until: str | None = Field(None, description="a stop rule, such as object_exact_match>=0.9")


class ChainOfThought(Studied):
    shots: tuple[int, ...] = Field((2, 4), description="how many examples with steps are tried")
    rationales: int = Field(
        24, ge=0, description="training rows that a model is asked to reason about; 0: steps are read off by code alone"
    )


class FewShot(Studied):
    shots: tuple[int, ...] = Field((1, 2, 4, 8), description="how many examples are tried")
    choosers: tuple[str, ...] = Field((), description="in which ways they are chosen; default: all")
    orders: int = Field(8, ge=1, description="orders of the best set that are tried, the first among them")


class Impacts(Studied):
    found: bool = Field(False, description="of the prompt that the newest search found, and not of the task's own")
    shots: int = Field(0, ge=0, description="examples that are put into the prompt first, drawn from the training rows")


class Explaining(Studied):
    rounds: int = Field(2, ge=1, description="rounds of improvements, each made from the failures of the best so far")


def iterative(p: "Pipeline", name: str, options: Iterative) -> Report:
    """The prompt search of `pp prompt optimise`."""
    from pp_assets.pipelines.prompt_iterative import run

    return run(p, name, options)


def chain_of_thought(p: "Pipeline", name: str, options: ChainOfThought) -> Report:
    """Steps extracted, checked, put into prompts, and measured."""
    from pp_assets.pipelines.prompt_cot import run

    return run(p, name, options)


def few_shot(p: "Pipeline", name: str, options: FewShot) -> Report:
    """Examples by search over choice, count and order."""
    from pp_assets.pipelines.prompt_fewshot import run

    return run(p, name, options)


def impact(p: "Pipeline", name: str, options: Impacts) -> Report:
    """Every part of a prompt left out in turn."""
    from pp_assets.pipelines.prompt_studies import impacts

    return impacts(p, name, options)


def explain(p: "Pipeline", name: str, options: Explaining) -> Report:
    """Failures explained, and a prompt made from the explanations."""
    from pp_assets.pipelines.prompt_studies import explained

    return explained(p, name, options)


def estimate_of(pipeline: str) -> Callable[["Pipeline", str, Studied], Estimate]:
    """What earlier runs took, else at most the budget."""

    def estimate(p: "Pipeline", name: str, options: Studied) -> Estimate:
        told = estimates.of_runs(p, name, pipeline)
        return told if told.calls is not None else Estimate(options.calls, basis=(*told.basis, "at most the calls that are allowed"))

    return estimate


ENTRIES: tuple[Entry, ...] = (
    Entry(
        id=ITERATIVE,
        purpose="Search a prompt in rounds of variations, and release it through a paired test alone",
        complexity="high",
        inputs=(*INPUTS, "its contract ('pp run TASK')"),
        steps=("search", "baseline", "variations", "analysis", "validation"),
        options=Iterative,
        estimate=estimate_of(ITERATIVE),
        run=iterative,
    ),
    Entry(
        id=COT,
        purpose="Build a prompt that asks for steps, with examples that have some, and say what the steps are worth",
        complexity="medium",
        inputs=INPUTS,
        steps=("reasoning step extraction", "logic validation", "example generation", "choice", "test", "performance benchmarking"),
        options=ChainOfThought,
        estimate=estimate_of(COT),
        run=chain_of_thought,
    ),
    Entry(
        id=FEWSHOT,
        purpose="Choose the examples of a prompt: which, how many, in which order",
        complexity="medium",
        inputs=INPUTS,
        steps=("choice and count", "order", "test"),
        options=FewShot,
        estimate=estimate_of(FEWSHOT),
        run=few_shot,
    ),
)
STUDIES: tuple[Entry, ...] = (
    Entry(
        id=IMPACT,
        purpose="What each part of a prompt buys: every part left out in turn, paired",
        complexity="low",
        inputs=INPUTS,
        steps=("parts", "effects"),
        options=Impacts,
        estimate=estimate_of(IMPACT),
        run=impact,
    ),
    Entry(
        id=EXPLAIN,
        purpose="Why a prompt fails, in words, and a prompt made from the explanations, tested on unseen rows",
        complexity="medium",
        inputs=INPUTS,
        steps=("failures", "improvements", "test", "what has changed"),
        options=Explaining,
        estimate=estimate_of(EXPLAIN),
        run=explain,
    ),
)

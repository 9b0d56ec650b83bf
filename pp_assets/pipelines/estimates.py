"""What a run would ask for, from what was measured here before: answers that are kept, trainings, earlier runs of the same pipeline."""

from collections.abc import Sequence
from statistics import fmean, median
from typing import TYPE_CHECKING

from pp_assets import pipeline as stages
from pp_assets.kept import KeptPredictor
from pp_assets.pipelines.entry import Estimate
from pp_assets.pipelines.facts import counted
from pp_assets.pipelines.runs import PIPELINES

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

NOTHING = Estimate(0, 0, 0.0)
LEAST = 2  # answers that a mean is taken of


def of_runs(p: "Pipeline", name: str, pipeline: str) -> Estimate:
    """The median of earlier runs on the task; most of what they made is ready now, so a new one takes less where nothing has changed."""
    before = [run.metadata for run in p.store.versions(PIPELINES, f"{name}/{pipeline}")]
    if not before:
        return Estimate(basis=("no earlier run of this pipeline on the task",))
    calls, tokens, seconds = (median(run[part] for run in before) for part in ("calls", "tokens", "seconds"))
    return Estimate(round(calls), round(tokens), seconds, (f"the median of {counted(len(before), 'earlier run')}",))


def of_answers(predictor: KeptPredictor, texts: Sequence[str]) -> Estimate:
    """Answers of a model to texts: those that are kept cost nothing, the others what those took on average."""
    kept = predictor.kept(texts)
    left = len(set(texts) - kept.keys())
    if not left:
        return Estimate(0, 0, 0.0, (f"{predictor.name}: all answers are kept",))
    if len(kept) < LEAST:
        return Estimate(left, basis=(f"{predictor.name}: too few answers are kept to tell tokens and seconds",))
    tokens = fmean(one.tokens_in + one.tokens_out for one in kept.values())
    seconds = fmean(one.latency_ms for one in kept.values()) / 1000
    said = f"{predictor.name}: {left} answers, from {counted(len(kept), 'kept one')}"
    return Estimate(left, round(left * tokens), left * seconds, (said,))


def of_trainings(p: "Pipeline", name: str, variant: str, count: int) -> Estimate:
    """So many trainings of a variant, from those of the task that were measured; models are asked nothing by that."""
    key = f"{name}/{variant}"
    took = [float(one.metadata["seconds"]) for one in p.store.versions(stages.ADAPTERS, key) if "seconds" in one.metadata]
    searched = [one.metadata for one in p.store.versions(stages.TUNINGS, key)]
    took += [float(one["seconds"]) / one["trials"] for one in searched if one.get("trials")]
    if not took:
        return Estimate(0, 0, None, (f"{variant}: was not trained here yet",))
    said = f"{variant}: {counted(count, 'training')} at {median(took):.1f} s each, from {counted(len(took), 'measured one')}"
    return Estimate(0, 0, count * median(took), (said,))


def together(parts: Sequence[Estimate]) -> Estimate:
    """All of them one after the other; a number that one of them does not know is not known."""

    def total(values: Sequence[float | int | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    calls, tokens, seconds = total([e.calls for e in parts]), total([e.tokens for e in parts]), total([e.seconds for e in parts])
    basis = tuple(dict.fromkeys(said for e in parts for said in e.basis))
    return Estimate(None if calls is None else round(calls), None if tokens is None else round(tokens), seconds, basis)

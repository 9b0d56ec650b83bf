"""The kinds of work, each with its path, what may be asked, and what does it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pp_assets.flows import contracts, data, use
from pp_assets.flows import requests as asked
from pp_assets.flows.work import Flow, Work


def never(_work: Work, _request: Any) -> bool:
    """It always is a job."""
    return False


@dataclass(frozen=True)
class Kind:
    """`quick` tells whether a request is answered while somebody waits, in the gateway's own process; else it is a job."""

    path: str
    model: type[asked.Strict]
    run: Flow
    summary: str
    quick: Callable[[Work, Any], bool] = never


def _one_text(_work: Work, request: asked.RunInference) -> bool:
    """The gateway itself answers it, from what it serves."""
    return request.input is not None


def _unasked(_work: Work, request: asked.GenerateDimensions) -> bool:
    return not request.judge


KINDS = {
    "generate_dimensions": Kind(
        "/contracts/generate_dimensions", asked.GenerateDimensions, contracts.generate_dimensions, "What a good answer is", _unasked
    ),
    "score": Kind("/contracts/score", asked.Score, contracts.score, "Score outputs by a contract", contracts.quick_score),
    "calibrate": Kind("/contracts/calibrate", asked.Calibrate, contracts.calibrate, "Fit a contract to what people said"),
    "generate_seeds": Kind("/data/generate_seeds", asked.GenerateSeeds, data.generate_seeds, "The rows that others are made from"),
    "generate_from_seeds": Kind("/data/generate_from_seeds", asked.GenerateFromSeeds, data.generate_from_seeds, "New rows from a task's"),
    "cluster_inputs": Kind("/data/input/cluster", asked.ClusterInputs, data.cluster_inputs, "What inputs are about"),
    "evaluate_inputs": Kind("/data/input/evaluate", asked.EvaluateInputs, data.evaluate_inputs, "Which rows are worth learning from"),
    "cluster_feedback": Kind("/feedback/cluster", asked.ClusterFeedback, use.cluster_feedback, "What people say of answers"),
    "tune": Kind("/tune", asked.Tune, use.tune, "Search a variant's hyper-parameters"),
    "tune_prompt": Kind("/tune/prompt", asked.TunePrompt, use.tune_prompt, "Search a prompt"),
    "run_inference": Kind("/inference/run", asked.RunInference, use.run_inference, "The answer to a text, or to many", _one_text),
}

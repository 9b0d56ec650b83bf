"""Experiments: what to compute, what it will cost, what came out; no call is made twice."""

from pp_assets.experiment.comparison import Compared
from pp_assets.experiment.experiment import Experiment, half_width
from pp_assets.experiment.ops import Out, Refused, op
from pp_assets.experiment.plan import Plan
from pp_assets.experiment.results import Results
from pp_assets.experiment.statistics import pass_all, quantile
from pp_assets.experiment.store import CellStore
from pp_assets.experiment.systems import ask, models, parsed, task_rows, task_scores
from pp_resources.models.price import Price

__all__ = [
    "CellStore",
    "Compared",
    "Experiment",
    "Out",
    "Plan",
    "Price",
    "Refused",
    "Results",
    "ask",
    "half_width",
    "models",
    "op",
    "parsed",
    "pass_all",
    "quantile",
    "task_rows",
    "task_scores",
]

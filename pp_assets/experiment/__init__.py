"""Experiments: what to compute, what it will cost, what came out; no call is made twice."""

from pp_assets.experiment.experiment import Experiment
from pp_assets.experiment.ops import Out, Price, Refused, op
from pp_assets.experiment.plan import Plan
from pp_assets.experiment.results import Results
from pp_assets.experiment.store import CellStore

__all__ = ["CellStore", "Experiment", "Out", "Plan", "Price", "Refused", "Results", "op"]

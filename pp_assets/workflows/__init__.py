"""Workflows: steps in a YAML file that ask models, run statistics and hand their outputs on.

Belongs here: the grammar, what reads what, what a kind of step does, the run and its report. Does not belong here: statistics and metrics
(`pp_assets.evaluation`), models (`pp_resources.models`).
"""

"""Statistics of systems that answer the same items: intervals, paired tests, effect sizes, planning, looking early.

Everything is pure: what is drawn at random is drawn from a generator that the caller seeds. Modules of this project import from the module
that a name is defined in, so that a change to one of them makes stale only what uses it.
"""

from pp_assets.evaluation.stats.corpus import CorpusDifference, bleu, bleu_counts, corpus_difference, corpus_interval, f1
from pp_assets.evaluation.stats.design import (
    Advice,
    Spread,
    design_effect,
    detectable_with,
    half_width_advice,
    items_for,
    items_or_trials,
    power_with,
)
from pp_assets.evaluation.stats.effects import Effect, bonett_price, cliffs_delta, cohens_dz, odds_ratio, risk_difference
from pp_assets.evaluation.stats.groups import Clusters, effective_n, effective_n_of_share, generator
from pp_assets.evaluation.stats.intervals import (
    Interval,
    clopper_pearson,
    flat_interval,
    flat_margin,
    mid_p,
    proportion_interval,
    quantile_interval,
    wilson,
)
from pp_assets.evaluation.stats.location import Ratio, hodges_lehmann, paired_ratio
from pp_assets.evaluation.stats.margins import ONE_SIDED, NonInferiority, non_inferiority
from pp_assets.evaluation.stats.multiplicity import benjamini_hochberg, holm
from pp_assets.evaluation.stats.nested import NestedMean, nested_mean, nested_mean_of
from pp_assets.evaluation.stats.paired import McNemar, mcnemar, sign_flip_exact, swap_test
from pp_assets.evaluation.stats.power import (
    POWER,
    WORST_DISCORDANCE,
    grouped_detectable,
    grouped_items,
    grouped_power,
    mcnemar_power,
    mean_detectable_effect,
    minimum_detectable_effect,
    required_items,
)
from pp_assets.evaluation.stats.resampling import RESAMPLES, Statistic, bca_interval, bootstrap_weights, resampled_interval
from pp_assets.evaluation.stats.sequential import Look, always_valid_p, look
from pp_assets.evaluation.stats.unpaired import Welch, welch

__all__ = [
    "ONE_SIDED",
    "POWER",
    "RESAMPLES",
    "WORST_DISCORDANCE",
    "Advice",
    "Clusters",
    "CorpusDifference",
    "Effect",
    "Interval",
    "Look",
    "McNemar",
    "NestedMean",
    "NonInferiority",
    "Ratio",
    "Spread",
    "Statistic",
    "Welch",
    "always_valid_p",
    "bca_interval",
    "benjamini_hochberg",
    "bleu",
    "bleu_counts",
    "bonett_price",
    "bootstrap_weights",
    "cliffs_delta",
    "clopper_pearson",
    "cohens_dz",
    "corpus_difference",
    "corpus_interval",
    "design_effect",
    "detectable_with",
    "effective_n",
    "effective_n_of_share",
    "f1",
    "flat_interval",
    "flat_margin",
    "generator",
    "grouped_detectable",
    "grouped_items",
    "grouped_power",
    "half_width_advice",
    "hodges_lehmann",
    "holm",
    "items_for",
    "items_or_trials",
    "look",
    "mcnemar",
    "mcnemar_power",
    "mean_detectable_effect",
    "mid_p",
    "minimum_detectable_effect",
    "nested_mean",
    "nested_mean_of",
    "non_inferiority",
    "odds_ratio",
    "paired_ratio",
    "power_with",
    "proportion_interval",
    "quantile_interval",
    "required_items",
    "resampled_interval",
    "risk_difference",
    "sign_flip_exact",
    "swap_test",
    "welch",
    "wilson",
]

"""What judged candidates are worth beside each other on the same rows: quality, tokens and time of an answer, paired."""

from dataclasses import dataclass

import numpy as np

from pp_assets.evaluation.compare import Comparison, Items, compare_scored, compare_tables
from pp_assets.evaluation.metrics import Metric, table_metric
from pp_assets.evaluation.scoring import Scored
from pp_assets.evaluation.tables import Table
from pp_assets.prompts.candidate import Judged
from pp_assets.prompts.search.gate import scored
from pp_assets.task.spec import TaskSpec

TOKENS, LATENCY = "tokens", "latency_ms_mean"


@dataclass(frozen=True)
class Beside:
    """A candidate against another: by the primary metric, tokens of an answer (read and written) and its latency. A positive effect is
    better, so fewer tokens are a positive one."""

    quality: Comparison
    tokens: Comparison
    latency: Comparison


def beside(spec: TaskSpec, ours: Judged, other: Judged) -> Beside:
    """Paired on the rows that both answered. Raises UserError where these are not the same."""
    a, b = scored(spec, ours), scored(spec, other)
    items = Items(a.clusters, a.scoring.alpha, a.scoring.seed)
    tokens = compare_tables(TOKENS, tokens_table(a), tokens_table(b), items, higher_is_better=False)
    return Beside(compare_scored(a, b), tokens, compare_scored(a, b, LATENCY))


def quality(spec: TaskSpec, one: Judged) -> Metric:
    """The primary metric of a candidate's answers, with its interval."""
    of = scored(spec, one)
    return table_metric(of, of.tables[of.scoring.primary])


def chosen_by(spec: TaskSpec, one: Judged) -> Metric:
    """The score that candidates are chosen by, with its interval. For a primary metric that no item has a value of (macro F1) it is another
    than `quality`."""
    of, place = scored(spec, one), {row.item_id: i for i, row in enumerate(one.rows)}
    scores = one.scores[[place[row.item_id] for row in of.rows]]
    return table_metric(of, Table(np.stack([scores, np.ones(len(scores))], axis=1), "score of an answer"))


def tokens_table(of: Scored) -> Table:
    """Tokens read and written, by item."""
    counts = np.array([[row.tokens_in + row.tokens_out, 1] for row in of.rows], dtype=float)
    return Table(counts, "tokens of an answer, read and written", bounded=False)

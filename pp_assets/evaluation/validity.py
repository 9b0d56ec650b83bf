"""What a task's gates may ask of an evaluation beside its metrics: enough items, power, no part that is left behind, few tokens."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pp_assets.evaluation.compare import Comparison
from pp_assets.evaluation.metrics import Metric
from pp_assets.evaluation.scoring import Scored

OF_DATA = ("test_items", "test_groups", "detectable_effect")  # where one of these fails, the data is short, not the model bad
VALIDITY = (*OF_DATA, "slices_worse", "calibration_error", "tokens_in_mean", "tokens_out_mean")


def validity(
    ours: Scored, comparison: Comparison | None, slices: Mapping[str, Any], calibration: Sequence[Mapping[str, Any]]
) -> dict[str, Metric]:
    """The numbers of VALIDITY: test items, groups of them, the smallest effect of the primary metric against the best baseline that they
    show with 80 % power, slices that are surely worse than the rest, ECE of whole objects, mean tokens read and written for an answer
    (an encoder writes none).
    `slices` and `calibration` as the report has them."""
    n = len(ours.rows)
    found = {"test_items": Metric(float(n), n), "test_groups": Metric(float(ours.clusters.count), n)}
    detectable = None if comparison is None else comparison.detectable
    why = "there is no baseline to compare with" if comparison is None else comparison.reason or "no effect could be shown on these items"
    found["detectable_effect"] = Metric(detectable, n, reason="" if detectable is not None else why)
    worse = None if slices["reason"] else float(sum(row["worse"] for row in slices["rows"]))
    found["slices_worse"] = Metric(worse, n, reason=slices["reason"])
    found["calibration_error"] = Metric(**calibration[0]["ece"])
    read, written = (float(np.mean([getattr(row, side) for row in ours.rows])) for side in ("tokens_in", "tokens_out"))
    found["tokens_in_mean"] = Metric(read, n) if read else Metric(None, n, reason="tokens were not counted")
    found["tokens_out_mean"] = Metric(written, n)
    return found

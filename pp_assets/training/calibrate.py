"""Fits the confidences of a trained encoder on its validation rows, and says how far they can be trusted."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from itertools import chain
from typing import Any

from torch import Tensor

from pp_assets.evaluation.stats.intervals import wilson
from pp_resources.json_schema import get_path
from pp_resources.models.encoder.calibration import (
    TEMPERATURES,
    Fit,
    abstain_threshold,
    binary_losses,
    coverage_curve,
    expected_calibration_error,
    fit_temperature,
)
from pp_resources.models.encoder.compile import Head
from pp_resources.models.encoder.predictor import EncoderPredictor
from pp_resources.models.encoder.targets import head_loss
from pp_resources.models.encoder.tokens import Encoded

ROWS = 500  # of the validation split; a temperature is one number, and each is tried on all of them
KEPT_BYTES = 2**28  # of logits, so that no row goes through the encoder twice; what does not fit, with long texts, does
TARGETS = (0.9, 0.95, 0.99)
SHOWN = 20  # points of the curve
Said = tuple[dict[str, Any], dict[str, float]]  # values and probabilities by path


@dataclass(frozen=True)
class Judged:
    """A batch of validation rows and the logits of each head on it; `targets` by row, then by head."""

    rows: Sequence[Encoded]
    texts: Sequence[str]
    outputs: Sequence[Any]
    targets: Sequence[list[Any]]
    logits: Sequence[Tensor]
    words: Tensor

    @property
    def bytes(self) -> int:
        return sum(scores.nbytes for scores in self.logits)


class _Losses:
    """At each of `TEMPERATURES`, added up over the rows of either half."""

    def __init__(self) -> None:
        self.sums, self.rows = [[0.0] * len(TEMPERATURES) for _ in range(2)], [0, 0]

    def add(self, half: int, means: Sequence[float], rows: int) -> None:
        self.sums[half] = [total + rows * mean for total, mean in zip(self.sums[half], means)]
        self.rows[half] += rows

    def fit(self) -> Fit:
        return fit_temperature([[total / max(1, n) for total in row] for row, n in zip(self.sums, self.rows)], self.rows)


class _Fitting:
    """The temperatures of one head: of its answer as a whole, and of flags also that of each label."""

    def __init__(self, head: Head) -> None:
        self.head, self.whole, self.labels = head, _Losses(), _Losses()

    def add(self, half: int, k: int, part: Judged, said: Sequence[Said], width: int) -> None:
        head = self.head
        if head.listing:
            pairs = zip(said, part.outputs)
            hits = [_same_items(values[head.path], get_path(output, head.path)) for (values, _), output in pairs]
            self.whole.add(half, binary_losses([fields[head.path] for _, fields in said], hits), len(hits))
        targets = [target[k] for target in part.targets]
        count = sum(target is not None for target in targets)
        if count and (not head.listing or head.kind == "flags"):
            means = [head_loss(head, part.logits[k] / t, targets, part.words, width, 0.0).item() for t in TEMPERATURES]
            (self.labels if head.listing else self.whole).add(half, means, count)

    def fitted(self) -> Head:
        return replace(self.head, temperature=self.whole.fit().temperature, label_temperature=self.labels.fit().temperature)

    def told(self) -> dict[str, Any]:
        labels = {"labels": _rounded(self.labels.fit()._asdict())} if self.head.kind == "flags" else {}
        return _rounded(self.whole.fit()._asdict()) | labels


def calibrate(
    predictor: EncoderPredictor,
    judged: Callable[[Sequence[int]], Iterable[Judged]],
    lengths: Sequence[int],
    right: Callable[[str, Any], bool],
) -> dict[str, Any]:
    """Set the temperatures of `predictor`; returns `calibration` and `abstain` for training.json.

    `judged` makes batches of the validation rows with these indexes, `lengths` are the tokens of each row, `right` compares an answer with
    an output.
    """
    chosen = sorted(range(min(ROWS, len(lengths))), key=lambda i: (lengths[i], i))
    halves = chosen[::2], chosen[1::2]
    fittings = [_Fitting(head) for head in predictor.heads.heads]
    before: list[tuple[float, bool]] = []
    after: list[tuple[float, bool]] = []
    kept: tuple[list[Judged], list[Judged]] = [], []
    size = 0
    for half, rows in enumerate(halves):
        for part in judged(rows):
            size += part.bytes
            if size <= KEPT_BYTES:
                kept[half].append(part)
            said = predictor.decode(part.logits, part.rows, part.texts)
            before += _answers(predictor, part, said, right)
            for k, fitting in enumerate(fittings):
                fitting.add(half, k, part, said, predictor.heads.width)
    predictor.set_heads([fitting.fitted() for fitting in fittings])
    for parts, rows in zip(kept, halves):
        rest = rows[sum(len(part.rows) for part in parts) :]
        for part in chain(parts, judged(rest)):
            after += _answers(predictor, part, predictor.decode(part.logits, part.rows, part.texts), right)
    return {
        "calibration": {
            "rows": len(chosen),
            "heads": {fitting.head.path: fitting.told() for fitting in fittings},
            "object_ece": _rounded({"before": _ece(before), "after": _ece(after)}),
        },
        "abstain": _abstain(after),
    }


def _answers(
    predictor: EncoderPredictor, part: Judged, said: Sequence[Said], right: Callable[[str, Any], bool]
) -> Iterator[tuple[float, bool]]:
    """Confidence of each object, and whether it is right."""
    for (values, fields), output in zip(said, part.outputs):
        yield predictor.confidence(fields), right(predictor.text_of(values), output)


def _same_items(value: Sequence[Any] | None, gold: Sequence[Any] | None) -> bool:
    one, other = ({json.dumps(item, sort_keys=True) for item in items or []} for items in (value, gold))
    return one == other


def _ece(answers: Sequence[tuple[float, bool]]) -> float | None:
    return expected_calibration_error(*zip(*answers)) if answers else None


def _abstain(answers: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """For each target the threshold of most coverage, with the 95 % interval of the accuracy above it; and the curve."""
    curve = coverage_curve(*zip(*answers)) if answers else []
    found: dict[str, Any] = {"rows": len(answers), "curve": [[round(v, 6) for v in astuple(p)] for p in curve[:: len(curve) // SHOWN + 1]]}
    for target in TARGETS:
        point = abstain_threshold(curve, target)
        if point is None:
            found[str(target)] = None
            continue
        n = round(point.coverage * len(answers))
        low, high = wilson(point.accuracy * n, n)
        found[str(target)] = _rounded(
            {"threshold": point.threshold, "coverage": point.coverage, "accuracy": point.accuracy, "low": low, "high": high}
        ) | {"answered": n}
    return found


def _rounded(values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: value if value is None else round(value, 6) for name, value in values.items()}

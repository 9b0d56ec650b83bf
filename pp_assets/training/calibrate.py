"""Fits the confidences of a trained encoder on its validation rows, and says how far they can be trusted."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch import Tensor

from pp_assets.evaluation.stats import wilson
from pp_resources.json_schema import get_path
from pp_resources.models.encoder.calibration import (
    TEMPERATURES,
    abstain_threshold,
    binary_losses,
    coverage_curve,
    expected_calibration_error,
    fit_temperature,
)
from pp_resources.models.encoder.predictor import EncoderPredictor
from pp_resources.models.encoder.targets import head_loss
from pp_resources.models.encoder.tokens import Encoded

ROWS = 500  # of the validation split; a temperature is one number, and each is tried on all of them
TARGETS = (0.9, 0.95, 0.99)
SHOWN = 20  # points of the curve


@dataclass(frozen=True)
class Judged:
    """A batch of validation rows and the logits of each head on it; `targets` by row, then by head."""

    rows: Sequence[Encoded]
    texts: Sequence[str]
    outputs: Sequence[Any]
    targets: Sequence[list[Any]]
    logits: Sequence[Tensor]
    words: Tensor


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
    heads = predictor.heads.heads
    sums, taught = torch.zeros(2, len(heads), len(TEMPERATURES), dtype=torch.float64), torch.zeros(2, len(heads), dtype=torch.long)
    before: list[tuple[float, bool]] = []
    for half, rows in enumerate(halves):
        lists: list[list[tuple[float, bool]]] = [[] for _ in heads]
        for part in judged(rows):
            before += _answers(predictor, part, right)
            for k, (head, decoder) in enumerate(zip(heads, predictor.decoders)):
                if head.listing:
                    said = decoder.decode(part.logits[k], part.rows, part.texts)
                    lists[k] += [(p, _same_items(value, get_path(output, head.path))) for (value, p), output in zip(said, part.outputs)]
                    continue
                targets = [target[k] for target in part.targets]
                count = sum(target is not None for target in targets)
                taught[half, k] += count
                for t, temperature in enumerate(TEMPERATURES if count else ()):
                    sums[half, k, t] += count * head_loss(
                        head, part.logits[k] / temperature, targets, part.words, predictor.heads.width, 0.0
                    )
        for k, pairs in enumerate(lists):
            if pairs:
                taught[half, k] = len(pairs)
                sums[half, k] = len(pairs) * torch.tensor(binary_losses(*zip(*pairs)), dtype=torch.float64)
    means = sums / taught.clamp(min=1).unsqueeze(-1)
    fits = [fit_temperature(means[:, k].tolist(), taught[:, k].tolist()) for k in range(len(heads))]
    predictor.set_temperatures([fit.temperature for fit in fits])
    after = [answer for rows in halves for part in judged(rows) for answer in _answers(predictor, part, right)]
    return {
        "calibration": {
            "rows": len(chosen),
            "heads": {head.path: _rounded(fit._asdict()) for head, fit in zip(heads, fits)},
            "object_ece": _rounded({"before": _ece(before), "after": _ece(after)}),
        },
        "abstain": _abstain(after),
    }


def _answers(predictor: EncoderPredictor, part: Judged, right: Callable[[str, Any], bool]) -> Iterator[tuple[float, bool]]:
    """Confidence of each object, and whether it is right."""
    for (values, fields), output in zip(predictor.decode(part.logits, part.rows, part.texts), part.outputs):
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

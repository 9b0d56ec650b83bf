"""Which candidates no other one beats in everything: quality, tokens, latency, invalid answers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pp_assets.evaluation.outputs import OutputReader
from pp_assets.prompts.candidate import Judged


@dataclass(frozen=True)
class Point:
    """A candidate's means over the same rows: `quality` (0..1, more is better), `tokens` (read and written) and `latency_ms` of an answer,
    `invalid` the share of answers that break the schema. `front`: no other candidate is at least as good in all and better in one."""

    candidate: str
    rows: int
    quality: float
    tokens: float
    latency_ms: float
    invalid: float
    front: bool = False

    @property
    def costs(self) -> tuple[float, ...]:
        """Less is better."""
        return -self.quality, self.tokens, self.latency_ms, self.invalid


def pareto(judged: Sequence[Judged], reader: OutputReader) -> list[Point]:
    """A point for each, in their order. All must have answered the same rows."""
    points = [_point(one, reader) for one in judged]
    return [replace(one, front=not any(_beats(other, one) for other in points)) for one in points]


def pareto_plot(points: Sequence[Point], names: dict[str, str], metric: str) -> bytes:
    """PNG: quality over tokens; the front in blue, named."""
    from matplotlib.figure import Figure

    from pp_assets.evaluation.drawing import BLUE, DARK, GREY, draw

    def paint(figure: Figure) -> None:
        axes: Any = figure.subplots()
        for one in points:
            axes.scatter([one.tokens], [one.quality], s=36, color=BLUE if one.front else GREY, edgecolors=DARK, linewidths=0.6)
            if one.front:
                axes.annotate(names.get(one.candidate, one.candidate), (one.tokens, one.quality), (4, 4), textcoords="offset points")
        axes.set_xlabel("tokens of an answer, read and written")
        axes.set_ylabel(f"{metric}, rows chosen by")
        axes.margins(0.2)

    return draw((5.4, 3.4), paint)


def _point(one: Judged, reader: OutputReader) -> Point:
    said = one.answers
    invalid = [not reader.read(answer.text).valid for answer in said]
    latency = [answer.latency_ms for answer in said]
    return Point(one.candidate.id, len(one.rows), _mean(one.scores), round(one.tokens, 6), _mean(latency), _mean(invalid))


def _mean(values: Any) -> float:
    return round(float(np.mean(values)), 6)


def _beats(a: Point, b: Point) -> bool:
    return all(x <= y for x, y in zip(a.costs, b.costs, strict=True)) and a.costs != b.costs

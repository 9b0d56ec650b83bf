"""The packages of a task over time, read from the store: what `pp history` tells, and what a test against the champion keeps beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets import pipeline as stages
from pp_assets.evaluation.predictions import SUFFIX, PredictionRow, read_predictions
from pp_assets.evaluation.trend import MARGIN, Release, trend
from pp_resources.artifacts import Artifact
from pp_resources.errors import UserError

if TYPE_CHECKING:
    from pp_assets.champion import Champion
    from pp_assets.pipeline import Pipeline


def history(p: "Pipeline", name: str, variants: Sequence[str], champion: "Champion | None", margin: float = MARGIN) -> dict[str, Any]:
    """`trend` over all packages of these variants (none: of all), oldest first, against the champion."""
    found = sorted(packages(p, name, variants), key=lambda pair: (pair[0].created_at, pair[0].path.name))
    releases = [
        Release(
            packed.path.name,
            packed.created_at,
            packed.key.partition("/")[2],
            str(report.metadata["verdict"]),
            _answers(report),
            champion is not None and packed.digest == champion.package_digest,
        )
        for packed, report in found
    ]
    return trend(p.task(name).spec, releases, _stood(champion), margin)


def packages(p: "Pipeline", name: str, variants: Sequence[str] = ()) -> list[tuple[Artifact, Artifact]]:
    """(package, the report in it) of each package of a task whose evaluation is still stored."""
    found = []
    for key in p.store.keys(stages.PACKAGES):
        task, _, variant = key.partition("/")
        if task != name or (variants and variant not in variants):
            continue
        reports = {report.digest: report for report in p.store.versions(stages.EVALUATIONS, key)}
        versions = p.store.versions(stages.PACKAGES, key)
        found += [(one, reports[one.inputs["evaluation"]]) for one in versions if one.inputs.get("evaluation") in reports]
    return found


def _answers(report: Artifact) -> list[PredictionRow]:
    return read_predictions(report.file("predictions") / f"{report.key.partition('/')[2]}{SUFFIX}")


def _stood(champion: "Champion | None") -> list[PredictionRow] | None:
    """The champion's answers; None without a champion, or when they cannot be read any more."""
    if champion is None:
        return None
    try:
        return read_predictions(Path(champion.evaluation) / "predictions" / f"{champion.variant}{SUFFIX}")
    except UserError:
        return None

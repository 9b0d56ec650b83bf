"""The champion of a task and the test that a challenger must pass. The champion's record is a small file; MLflow's alias follows it.

A challenger becomes champion only when its own verdict is SHIP, and then when there is no champion, when it is shown to lose
nothing, or when the champion's answers are to other test items and so say nothing about today's data. Where the task's flywheel is
enabled, passing makes it a candidate: it has to prove itself in use before it takes the place (`pp_assets.flywheel`), and a champion whose
answers are to other items answers those of today.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock

from pp_assets import pipeline as stages
from pp_assets.history import history, packages
from pp_assets.pipeline import read_json, scoring_spec
from pp_assets.result_facts import package_tags
from pp_assets.sources import source_digest
from pp_assets.task.spec import Task
from pp_resources.artifacts import Artifact, read_artifact, write_atomic
from pp_resources.errors import UserError
from pp_resources.fingerprint import digest

if TYPE_CHECKING:
    from pp_assets.evaluation.predictions import PredictionRow
    from pp_assets.pipeline import Pipeline
    from pp_assets.serving.spec import Variant
    from pp_assets.task.spec import Task

TREND = "trend.png"
MOST_PREVIOUS, MOST_REFUSED = 5, 20  # that a record remembers
TAKEN_BACK = "it was champion and was taken back"
Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE", "FIRST", "OTHER DATA", "SAME"]


@dataclass(frozen=True)
class Champion:
    """Which package stands, and the report that it earned the place with."""

    task: str
    variant: str
    package: str
    package_digest: str
    evaluation: str
    evaluation_digest: str
    since: str
    previous: Mapping[str, Any] | None = None  # the record of the one before, with its own `previous`
    refused: Sequence[str] = ()  # digests of packages that were champion and were taken back: no test makes them one again


def champion_file(home: Path, task: str) -> Path:
    return home / "champions" / f"{task}.json"


def read_champion(home: Path, task: str) -> Champion | None:
    file = champion_file(home, task)
    return Champion(**read_json(file)) if file.exists() else None


def standing(home: Path, task: "Task", variants: Mapping[str, "Variant"]) -> str:
    """The variant that answers where nothing else is said: the declared champion, that of the records, else the first one. Raises UserError
    where there is none."""
    from pp_assets.serving.spec import Package

    if task.spec.serving and task.spec.serving.routing:
        return task.spec.serving.routing.champion
    stands = read_champion(home, task.name)
    for name, variant in variants.items():
        if stands and isinstance(variant, Package) and (variant.stage == "champion" or variant.recipe == stands.variant):
            return name
    if not variants and stands is None:
        raise UserError("no variant answers yet", where=f"task {task.name}", how=f"run 'pp run {task.name}'")
    return next(iter(variants), stands.variant if stands else "")


def regression(p: "Pipeline", name: str, variant: str) -> Artifact:
    """regression.json: the outcome and its numbers; history.json and trend.png: this variant's packages over time. Moves the champion where
    the rule says so."""
    task, key = p.task(name), f"{name}/{variant}"
    report, packed = p.current(stages.EVALUATIONS, key), p.current(stages.PACKAGES, key)
    with _locked(p.settings.home, name):
        champion = read_champion(p.settings.home, name)
        inputs = {"evaluation": report.digest, "champion": champion.evaluation_digest if champion else "", "spec": scoring_spec(task)}
        inputs["code"] = source_digest("pp_assets.evaluation.trend")
        inputs["history"] = digest([one.digest for one, _ in packages(p, name, [variant])])
        on_trial = bool(champion and task.spec.flywheel and task.spec.flywheel.enabled)
        taken_back = bool(champion and packed.digest in champion.refused)
        inputs |= {"on_trial": "yes"} if on_trial else {}
        inputs |= {"taken_back": "yes"} if taken_back else {}
        last = p.store.current(stages.REGRESSIONS, key)
        if champion and last and champion.evaluation_digest == report.digest == last.inputs["evaluation"]:
            return last  # it was tested when it became champion

        def build(out: Path) -> dict[str, Any]:
            found = _tested(task, variant, report, champion)
            if found["outcome"] == "OTHER DATA" and on_trial and champion:
                found = _asked_again(p, task, variant, report, champion)
            (out / "regression.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
            over_time = history(p, name, [variant], champion)
            write_trend(over_time, out)
            passed = promotes(str(report.metadata["verdict"]), found["outcome"]) and not taken_back
            passed = passed and (not on_trial or found["outcome"] == "PASS")
            promoted, reason = passed and not on_trial, f"{TAKEN_BACK}; {found['reason']}" if taken_back else found["reason"]
            kept = {"outcome": found["outcome"], "reason": reason, "verdict": report.metadata["verdict"], "promoted": promoted}
            kept |= {"candidate": passed and on_trial}
            with p.tracker.run(name, variant, "regression") as run:
                run.tags({"regression": found["outcome"]})
                for file in sorted(out.iterdir()):
                    run.file(file, "regression")
            return {**kept, "champion": variant if promoted else champion.variant if champion else None}

        made = p.store.produce(stages.REGRESSIONS, key, inputs, build)
        if made.metadata["promoted"]:
            _enthrone(p, succession(champion, name, variant, packed, report), packed, report)
    return made


def promote(p: "Pipeline", name: str, variant: str, packed: Artifact, report: Artifact) -> Champion:
    """Make a package the champion, whatever its tests say; who calls this has asked them. Doing it again changes nothing."""
    with _locked(p.settings.home, name):
        champion = read_champion(p.settings.home, name)
        new = succession(champion, name, variant, packed, report)
        _enthrone(p, new, packed, report)
    return new


def roll_back(p: "Pipeline", name: str, taken_back: str | None = None) -> Champion:
    """Make the champion before this one the champion again; the one that goes is not made champion again by any test.

    With `taken_back` only when that package stands, so that doing it again changes nothing. Raises UserError without an earlier champion,
    or when its package is no longer there.
    """
    with _locked(p.settings.home, name):
        champion = read_champion(p.settings.home, name)
        if champion is None or (champion.previous is None and champion.package_digest == (taken_back or champion.package_digest)):
            raise UserError("there is no earlier champion", where=name, how="see 'pp history' for the packages that there are")
        if taken_back is not None and champion.package_digest != taken_back:
            new = champion
        else:
            before = Champion(**dict(champion.previous or {}))
            refused = [*(one for one in champion.refused if one != before.package_digest), champion.package_digest][-MOST_REFUSED:]
            new = replace(before, since=_now(), refused=refused)
        _enthrone(p, new, stored(Path(new.package), name), stored(Path(new.evaluation), name))
    return new


def succession(champion: Champion | None, name: str, variant: str, packed: Artifact, report: Artifact) -> Champion:
    """The record of a new champion, with that of the one before; the same one where it stands already."""
    if champion and champion.package_digest == packed.digest and champion.evaluation_digest == report.digest:
        return champion
    before = asdict(champion) if champion else None
    depth, place = 1, before
    while place and (place := place.get("previous")):
        depth += 1
        if depth == MOST_PREVIOUS:
            place["previous"] = None
    refused = [one for one in champion.refused if one != packed.digest] if champion else []
    return Champion(name, variant, str(packed.path), packed.digest, str(report.path), report.digest, _now(), before, refused)


def _enthrone(p: "Pipeline", new: Champion, packed: Artifact, report: Artifact) -> None:
    """The alias first: a crash between the two leaves a file that says that there is something to do."""
    version = p.tracker.register(new.task, report.metadata.get("mlflow", {}), packed.path, package_tags(new.variant, packed))
    p.tracker.promote(new.task, version)
    if new != read_champion(p.settings.home, new.task):
        write_atomic(champion_file(p.settings.home, new.task), json.dumps(asdict(new), indent=1) + "\n")


def _locked(home: Path, task: str) -> FileLock:
    file = champion_file(home, task)
    file.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{file}.lock")


def stored(folder: Path, task: str) -> Artifact:
    """A package or report that a record names. Raises UserError where it is gone."""
    try:
        return read_artifact(folder)
    except FileNotFoundError:
        raise UserError("is not there any more", where=f"champion of {task}: {folder}", how="promote another package: 'pp run'") from None


def write_trend(over_time: Mapping[str, Any], out: Path) -> None:
    """history.json, and trend.png where there is a package with a value."""
    from pp_assets.evaluation.trend import trend_plot

    (out / "history.json").write_text(json.dumps(over_time, indent=1) + "\n", "utf-8")
    if any(point["value"] is not None for point in over_time["points"]):
        (out / TREND).write_bytes(trend_plot(over_time))


def promotes(verdict: str, outcome: Outcome) -> bool:
    """Whether a challenger with this verdict and this outcome takes the place."""
    return verdict == "SHIP" and outcome in ("FIRST", "PASS", "OTHER DATA")


def _tested(task: Task, variant: str, report: Artifact, champion: Champion | None) -> dict[str, Any]:
    from pp_assets.evaluation.predictions import SUFFIX, read_predictions

    if champion is None:
        return {"outcome": "FIRST", "reason": "there is no champion yet"}
    if champion.evaluation_digest == report.digest:
        return {"outcome": "SAME", "reason": f"{variant} is the champion"}
    challenger = read_predictions(report.file("predictions") / f"{variant}{SUFFIX}")
    try:
        stood = read_predictions(Path(champion.evaluation) / "predictions" / f"{champion.variant}{SUFFIX}")
    except UserError as error:
        return {"outcome": "OTHER DATA", "reason": f"the champion's answers cannot be read: {error}"}
    if {(r.item_id, r.expected) for r in stood} != {(r.item_id, r.expected) for r in challenger}:
        return {"outcome": "OTHER DATA", "reason": f"the champion {champion.variant} of {champion.since} answered other test items"}
    return _checked(task, stood, challenger)


def _asked_again(p: "Pipeline", task: Task, variant: str, report: Artifact, champion: Champion) -> dict[str, Any]:
    """The champion's package answers the test items of today, so that there is a paired test; that opening is in the ledger."""
    from pp_assets.evaluation.predictions import SUFFIX, make_rows, read_predictions
    from pp_assets.packaging.predict import open_package
    from pp_assets.task.examples import open_test_split
    from pp_resources.json_schema import dump_output

    challenger = read_predictions(report.file("predictions") / f"{variant}{SUFFIX}")
    dataset = p.current(stages.DATASETS, task.name)
    test = open_test_split(dataset.path, p.ledger, task.name, f"champion {champion.variant} against {variant}")
    said = open_package(Path(champion.package), threads=p.settings.threads).predictor.predict([e.input_text for e in test])
    stood = make_rows(test, said, lambda output: dump_output(task.output_schema, output))
    if {(r.item_id, r.expected) for r in stood} != {(r.item_id, r.expected) for r in challenger}:
        return {"outcome": "OTHER DATA", "reason": f"the report of {variant} is of other test items; evaluate it again"}
    return _checked(task, stood, challenger)


def _checked(task: Task, stood: Sequence["PredictionRow"], challenger: Sequence["PredictionRow"]) -> dict[str, Any]:
    from pp_assets.evaluation.leaderboard import regression_check

    found = regression_check(task, stood, challenger)
    return {"outcome": found["verdict"], "reason": found["reason"], "check": found}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

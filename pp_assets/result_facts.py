"""What is said of results: numbers of a report as flat records, the tags of a package, and where and with what a report was made."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets.task.prompt import prompt_words
from pp_resources.artifacts import Artifact
from pp_resources.device import described, find_device
from pp_resources.fingerprint import digest
from pp_resources.settings import Settings

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline
    from pp_assets.task.spec import Task


def package_tags(variant: str, made: Artifact) -> dict[str, str]:
    return {"variant": variant, "package_digest": made.digest, "verdict": str(made.metadata.get("verdict", ""))}


def version_tags(task: "Task", dataset: Artifact, code: str) -> dict[str, str]:
    """What a tracked run was of: the versions of data, prompt and code, as tags that runs are found by."""
    return {"pp.data_version": dataset.digest, "pp.prompt_digest": prompt_words(task.spec)["digest"], "pp.code_digest": code}


def report_numbers(report: Mapping[str, Any]) -> dict[str, float]:
    """The candidate's metrics that have a value, with the calibration of its confidences in whole objects."""
    ours = next(s for s in report["systems"] if s["name"] == report["candidate"])
    found = {**ours["metrics"], **{name: report["calibration"][0][name] for name in ("ece", "aurc")}}
    return {name: m["value"] for name, m in found.items() if m["value"] is not None}


def verdict_numbers(report: Mapping[str, Any]) -> dict[str, Any]:
    """What stands beside a verdict wherever it is shown: candidate, best baseline, effect, interval, p, smallest detectable effect."""
    verdict, metric = report["verdict"], report["primary_metric"]["name"]
    values = {s["name"]: s["metrics"][metric] for s in report["systems"]}
    ours, best = values[report["candidate"]], report["best_baseline"]
    kept = ("effect", "low", "high", "p_value", "detectable", "n")
    return {
        "verdict": verdict["label"],
        "reasons": list(verdict["reasons"]),
        "metric": metric,
        "value": ours["value"],
        "value_low": ours["low"],
        "value_high": ours["high"],
        "best_baseline": best,
        "best_baseline_value": values[best]["value"] if best else None,
        **{name: verdict[name] for name in kept},
        "rules_broken": [rule["text"] for rule in (report.get("validation") or {"rules": ()})["rules"] if not rule["held"]],
    }


def field_row(field: Mapping[str, Any]) -> dict[str, Any]:
    """One field as a flat table row."""
    row = {"field": field["path"], "kind": field["kind"]}
    for side in ("candidate", "baseline"):
        for kind in ("exact", "f1"):
            found = field[f"{side}_{kind}"]
            row[f"{side}_{kind}"] = None if found is None else found["value"]
    return row


def slice_row(found: Mapping[str, Any]) -> dict[str, Any]:
    """One slice as a flat table row."""
    row = {"slice": found["slice"], "n": found["n"]}
    row |= {side: None if found[side] is None else found[side]["value"] for side in ("candidate", "baseline")}
    marked = "worse" if found["worse"] else "better" if found["better"] else ""
    return row | {"rest": found["rest"], "p_holm": found["p_holm"], "against_rest": marked}


def metric_numbers(metric: Mapping[str, Any]) -> dict[str, Any]:
    """A metric's value with its interval and n."""
    return {"value": metric["value"], "low": metric["low"], "high": metric["high"], "n": metric["n"]}


def libraries() -> str:
    """Digest of the versions that answers depend on: an upgrade makes answers stale, weights stay."""
    from importlib.metadata import version

    return digest({name: version(name) for name in ("torch", "transformers", "peft", "tokenizers", "numpy", "scikit-learn")})


def provenance(p: "Pipeline", task: "Task", variant: str, inputs: Mapping[str, str]) -> dict[str, Any]:
    """What cannot be recomputed from the predictions: hardware, versions, inputs, how often the test split was opened."""
    import platform
    from importlib.metadata import version

    from pp_assets.task.examples import count_test_openings

    return {
        "task_digest": task.digest,
        "variant": variant,
        "inputs": dict(inputs),
        "test_openings": count_test_openings(p.ledger, task.name),
        "hardware": hardware(p.settings),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("torch", "transformers", "peft")}},
    }


def hardware(settings: Settings) -> dict[str, Any]:
    """The machine that answered."""
    import platform

    device = described(find_device(settings.device))
    return {"machine": platform.machine(), "processor": _processor(), "threads": settings.threads, "device": device}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")

"""The model card: a pure function of what else is in the package, so that `pp package verify` can write it again and compare."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pp_assets.evaluation.markdown import main_metrics, number
from pp_assets.packaging.layout import DATA_CARD
from pp_assets.task.spec import TaskSpec
from pp_assets.training.predictors import bases_of

LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "NOTICE.txt")
_VERIFY = """pp package verify .   # hashes, every metric and the verdict from the stored answers, golden prompts
sha256sum -c SHA256SUMS"""
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#])")


@dataclass(frozen=True)
class CardFacts:
    """What a card tells: the task, eval_report.json, training.json, splits.json, the base's licence id ("" when none), the lint table,
    whether generated rows were trained on."""

    spec: TaskSpec
    report: Mapping[str, Any]
    training: Mapping[str, Any]
    splits: Mapping[str, Any]
    base_license: str
    runtimes: Sequence[Mapping[str, Any]]
    generated: bool = False


def model_card(facts: CardFacts) -> str:
    """README.md: front matter as the Hugging Face hub reads it, the verdict first, then use, numbers, data, limits."""
    spec, report, training = facts.spec, facts.report, facts.training
    families = {training["family"], *(one["family"] for one in training.get("members", {}).values())}
    verdict, causal = report["verdict"], "causal" in families
    lines = ["---", yaml.safe_dump(_front_matter(facts), sort_keys=False, allow_unicode=True).rstrip(), "---", ""]
    lines += [f"# {_md(spec.name)}: {_md(training['variant'])}", "", f"**{verdict['label']}**", ""]
    lines += [f"- {_md(reason)}" for reason in verdict["reasons"]]
    lines += ["", _md(spec.description), ""] if spec.description else [""]
    lines += _use(facts)
    lines += _numbers(report)
    lines += _training(facts)
    lines += ["## Limits", ""]
    lines += [f"- {line}" for line in _limits(facts, causal)]
    return "\n".join([*lines, "", *_check(), *_licence(facts)])


def base_license(folder: Path) -> str:
    """Licence id that the base's own model card gives, "" when it gives none."""
    card = folder / "README.md"
    if not card.is_file():
        return ""
    found = re.match(r"---\n(.*?)\n---\n", card.read_text("utf-8", errors="replace"), re.DOTALL)
    try:
        stated = yaml.safe_load(found.group(1)) if found else None
    except yaml.YAMLError:
        return ""
    value = stated.get("license") if isinstance(stated, dict) else None
    return value if isinstance(value, str) else ""


def _front_matter(facts: CardFacts) -> dict[str, Any]:
    training, report = facts.training, facts.report
    ours = next(s for s in report["systems"] if s["name"] == report["candidate"])
    shown = [(name, ours["metrics"][name]) for name in main_metrics(report)]
    metrics = [{"type": name, "name": name, "value": m["value"]} for name, m in shown if m["value"] is not None]
    result = {
        "task": {"type": "text-generation", "name": "structured output"},
        "dataset": {"type": facts.spec.name, "name": f"{facts.spec.name} (private)", "split": "test"},
        "metrics": metrics,
    }
    bases, kind = sorted(bases_of(training)), "ensemble"
    if training["family"] != "ensemble":
        kind = "lora" if training["params"]["r"] else "frozen-base"
    matter: dict[str, Any] = {
        "base_model": bases[0] if len(bases) == 1 else bases,
        "base_model_relation": "adapter",
        "library_name": "peft",
        "license": facts.base_license or "other",
        "tags": list(dict.fromkeys(["promptprecision", "structured-output", kind, training["family"]])),
    }
    if not facts.base_license:
        matter["license_name"] = "as-the-base-model"
    if training["family"] == "causal":
        matter["pipeline_tag"] = "text-generation"
    return matter | {"model-index": [{"name": f"{facts.spec.name}-{training['variant']}", "results": [result]}]}


def _use(facts: CardFacts) -> list[str]:
    schema = json.dumps(facts.spec.output_schema, indent=1, ensure_ascii=False)
    needed = "; ".join(f"`{model_id}`, SHA-256 `{sha256}`" for model_id, sha256 in bases_of(facts.training).items())
    takes = ", ".join(r["runtime"] for r in facts.runtimes if r["ok"])
    return [
        "## Intended use",
        "",
        "One text in, one JSON object of this schema out. Texts unlike those of the task are outside of what was measured.",
        "",
        *_fenced(schema, "json"),
        "## How to use",
        "",
        *_fenced(
            "pp predict . < lines.txt                           # with promptprecision installed\n"
            "python deploy/transformers_loader.py < lines.txt   # one JSON answer a line",
            "sh",
        ),
        f"The weights of the base model are not in here: {needed}. By its settings this adapter runs in: {takes}. Reasons, and how to "
        "serve it: [deploy/README.md](deploy/README.md).",
        "",
    ]


def _numbers(report: Mapping[str, Any]) -> list[str]:
    values = {s["name"]: s["metrics"] for s in report["systems"]}
    ours, best = values[report["candidate"]], report["best_baseline"]
    theirs = values[best] if best else {}
    rows = [[name, number(ours[name]), str(ours[name]["n"]), number(theirs.get(name))] for name in main_metrics(report)]
    told = f"{report['items']} test items in {report['groups']} groups, with 95 % intervals. All systems, tests and errors: "
    told += "[eval_report.md](eval_report.md), [eval_report.html](eval_report.html); every answer: `predictions/`."
    lines = ["## Results", "", told, "", *_table(["metric", "this model", "n", f"best baseline ({best or 'none'})"], rows)]
    shown = ("candidate_exact", "candidate_f1", "baseline_exact")
    fields = [[f["path"], f["kind"], str(f["candidate_exact"]["n"]), *(number(f[key]) for key in shown)] for f in report["fields"]]
    return [*lines, *_table(["field", "kind", "n", "exact", "F1", "baseline exact"], fields)]


def _training(facts: CardFacts) -> list[str]:
    training, splits = facts.training, facts.splits
    counts, split = splits["counts"], splits["eval_split"]
    sizes = ", ".join(f"{name} {counts[name]}" for name in ("train", "val", "test"))
    made = f" Generated rows are among them: [how they were made]({DATA_CARD})." if facts.generated else ""
    return [
        "## Training data",
        "",
        f"The data is not in this package, but for the test items in `predictions/` and `golden.jsonl`. Rows: {sizes}; split: "
        f"{split['strategy']}, seed {split['seed']}; {splits['extra_in_train']} of the training rows came from feedback. Trained on "
        f"{training['train_rows']} rows, checked on {training['val_rows']} while training. `splits.json` lists the hash of every row."
        f"{made}",
        "",
        "## Training",
        "",
        f"{_how_trained(training)}, seed {training['seed']}. All settings: `training.json`; environment: `repro.lock`.",
        "",
    ]


def _how_trained(training: Mapping[str, Any]) -> str:
    if training["family"] != "ensemble":
        kept = f"{training['epochs']} epochs, epoch {training['best_epoch']} was kept ({_md(training['stop_reason'])})"
        return f"{training['trainable_parameters']} trained parameters, {kept}"
    told = f"{', '.join(map(_md, training['members']))} together, by {training['params']['strategy']} (`combiner.json`), fitted on the "
    told += "validation rows"
    if training["val_object_exact_match"] is None:
        return told
    gain = training["val_gain"]
    told += f". Out of fold {training['val_object_exact_match']:.3f} of them were right, {gain['effect']:+.3f} [{gain['low']:+.3f}, "
    told += f"{gain['high']:+.3f}] against {_md(gain['over'])} alone, at {training['val_calls']:.2f} of {len(training['members'])} models "
    return told + "asked for an answer"


def _confidence(abstain: Mapping[str, Any] | None, ensemble: bool) -> str:
    if ensemble:
        return "`confidence` was made from those of the members and was not calibrated anew."
    if abstain is None:
        return "`confidence` is the model's own probability and was not calibrated."
    text = "`confidence` was calibrated field by field on the validation rows; for the object, errors of fields count as independent."
    found = [
        f"{round(100 * float(target))} % right from {point['threshold']:.3f} on ({round(100 * point['coverage'])} % of them)"
        for target, point in abstain.items()
        if isinstance(point, Mapping)
    ]
    return f"{text} Of the {abstain['rows']} validation answers: {'; '.join(found)}." if found else text


def _limits(facts: CardFacts, causal: bool) -> list[str]:
    report = facts.report
    ours = next(s for s in report["systems"] if s["name"] == report["candidate"])
    invented = ours["metrics"]["not_in_input_rate"]
    limits = [
        f"The numbers hold for inputs like the {report['items']} test items; other languages, topics and channels were not measured.",
        "Fairness, robustness against hostile inputs and change over time were not measured.",
        _confidence(facts.training.get("abstain"), facts.training["family"] == "ensemble"),
        f"Inputs longer than {facts.spec.limits.max_input_chars} characters are refused; an answer says so when its input was cut.",
        "Exact answers are promised on the same type of processor: elsewhere rounding may turn a close choice.",
    ]
    if causal:
        told = "not measured" if invented["value"] is None else f"{number(invented)} on the test items"
        limits.append(f"A language model may write strings that are not in the input ({told}).")
    else:
        limits.append("Strings are copied from the input; a value that is not literally in it cannot be answered.")
    return limits


def _check() -> list[str]:
    return [
        "## Check this package",
        "",
        *_fenced(_VERIFY, "sh"),
        "This finds damage, and edits of a report that its own predictions do not carry. It cannot find a forger who changes the "
        "predictions and rewrites report, checksums and manifest to fit: only a signature by somebody you trust can, and this package "
        "has none.",
        "",
    ]


def _licence(facts: CardFacts) -> list[str]:
    stated = f"licence `{facts.base_license}`" if facts.base_license else "whose model card states no licence"
    return [
        "## Licence",
        "",
        f"An adapter inherits the terms of its base model ({stated}; its licence text, where it ships one, is in `LICENSE.base`). The "
        "terms of the training data are for its owner to state.",
        "",
    ]


def _fenced(text: str, kind: str) -> list[str]:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return [f"{fence}{kind}", text, fence, ""]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(map(_md, head))} |", "|" + " --- |" * len(head)]
    return [*lines, *(f"| {' | '.join(map(_md, row))} |" for row in rows), ""]


def _md(value: Any) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))

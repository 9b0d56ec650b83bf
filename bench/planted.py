"""Faults planted in trained models: does the suite report each, and what does it report of the same models as they were trained?

    .venv/bin/python -m bench.planted DATA [--only snips] [--items 200] [--quality HOME] [--home .pp/planted] [--record]

DATA holds the folder snips (schema.json, train.jsonl, test.jsonl); the other tasks are the example tasks. Each is trained by its recipe on
one thread; with --quality the model of snips is the first that bench/quality.py has trained under its --home. A plant stands around the
trained model and changes its answer where a rule of its own fires; it reads none of the suite's lists. The comprehensive suite is run on
the clean model and on each plant but the one that learns by heart, which is for the suite of generalisation. What was trained and answered
is kept under --home: a killed bench goes on.

found: plants that the suite reports in the check meant for them. false: the same checks on the clean models that report that fault, which
they may have. beyond: plants whose figure lies outside of the interval of the clean model. elsewhere: what else is reported of a planted
model and not of the clean one.
"""

import argparse
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.quality import CASES, ROOT, VARIANT, write_task
from bench.throughput import processor, record

EXAMPLES = ("support-triage", "expense-notes")
HEADING = "## Planted faults"
WRONG = ("degrades", "differs", "overfits")
LABEL = re.compile(r"\s*[A-Z]\w+( \w+)?:")
NAME = re.compile(r"\b[A-Z][a-z]{2,}ah?\b")


@dataclass(frozen=True)
class Plant:
    """`fires` says of a text and of the texts that the model was trained on whether the answer is spoilt; `section` and `check` are where
    the suite should say so."""

    name: str
    section: str
    check: str
    what: str
    fires: Callable[[str], bool]


def shouted(text: str) -> bool:
    letters = [c for c in text if c.isalpha()]
    return len(letters) > 3 and sum(c.isupper() for c in letters) > 0.7 * len(letters)


PLANTS = (
    Plant("capitals", "robustness", "casing", "another class where most letters are capitals", shouted),
    Plant(
        "names",
        "bias",
        "name_gender",
        "another class where a word with a capital ends in -a or -ah, as many women's names do",
        lambda text: NAME.search(text) is not None,
    ),
    Plant(
        "wording",
        "consistency",
        "wrapper label",
        "another class where the text begins with one or two words and a colon",
        lambda text: LABEL.match(text) is not None,
    ),
)
MEMORY = Plant(
    "memory",
    "generalisation",
    "train and test rows",
    "training rows by heart, another class for a third of all other texts",
    lambda text: sha256(text.encode()).digest()[0] % 3 == 0,
)


@dataclass(frozen=True)
class Planted:
    """A predictor with a fault. What it knows by heart it says whatever the rule."""

    name: str
    predictor: Any
    schema: Mapping[str, Any]
    fires: Callable[[str], bool]
    by_heart: Mapping[str, str]

    def predict(self, inputs: Sequence[str], *, distributions: bool = False) -> list[Any]:
        said = self.predictor.predict(inputs, distributions=distributions)
        return [self._spoilt(text, answer) for text, answer in zip(inputs, said)]

    def _spoilt(self, text: str, answer: Any) -> Any:
        if text in self.by_heart:
            return replace(answer, text=self.by_heart[text])
        return replace(answer, text=other_class(self.schema, answer.text)) if self.fires(text) else answer


def other_class(schema: Mapping[str, Any], said: str) -> str:
    """The answer with the next value in the first field that has listed ones."""
    from pp_resources.json_schema import dump_output, get_path, leaf_fields, set_path

    output = json.loads(said)
    field = next(leaf for leaf in leaf_fields(schema) if leaf.kind == "enum")
    values = list(field.values)
    set_path(output, field.path, values[(values.index(get_path(output, field.path)) + 1) % len(values)])
    return dump_output(schema, output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", action="append", metavar="TASK", help=", ".join((*EXAMPLES, "snips")))
    parser.add_argument("--quality", type=Path, metavar="HOME", help="of bench/quality.py: take its model of snips")
    parser.add_argument("--home", type=Path, default=ROOT / ".pp" / "planted")
    parser.add_argument("--items", type=int, default=200, help="test items of the comprehensive suite, in whole groups")
    parser.add_argument("--record", action="store_true", help="write the table into RESULTS.md")
    args = parser.parse_args()
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_OFFLINE": "1"}
    names = [name for name in (*EXAMPLES, "snips") if not args.only or name in args.only]
    found = {name: Bench(args.home.resolve(), args.data, name, args.items, args.quality).run() for name in names}
    table = as_table(found)
    print(table)
    if args.record:
        command = f"python -m bench.planted DATA --items {args.items}{' --quality HOME' if args.quality else ''}"
        record(HEADING, table, f"`{command}`, {date.today()}, {processor()}, one thread")


class Bench:
    """One task: its data, its trained model, and what the suites say of that model clean and with each plant."""

    def __init__(self, home: Path, data: Path, name: str, items: int, quality: Path | None) -> None:
        from pp_assets.answers import Answers
        from pp_assets.pipeline import Pipeline, Training
        from pp_assets.task.examples import read_split
        from pp_resources.settings import Settings

        tasks, self.name, self.items, self.home = home / "tasks", name, items, home
        made = sorted((quality / "models").glob(f"{name}-*/training.json")) if quality and name not in EXAMPLES else []
        if name in EXAMPLES:
            shutil.copytree(ROOT / "tasks" / name, tasks / name, dirs_exist_ok=True)
        else:
            case = next(case for case in CASES if case.name == name)
            seed = int(made[0].parent.name.rpartition("-")[2]) if made else 0
            self.name = write_task(case, data / name, seed, tasks).name
        self.p = Pipeline(Settings(home, tasks, 1))
        data_set = self.p.seeds(self.name).path
        self.task, self.asking = self.p.task(self.name), Answers(self.p, self.p.task(self.name))
        if made:
            self.trained = taken(self.p, self.name, made[0].parent)
            self.rows = Training(read_split(data_set, "train"), read_split(data_set, "val"), [])
            return
        for stage in (self.p.generated_data, self.p.clusters, self.p.evaluated_inputs):
            stage(self.name)
        self.trained, self.rows = self.p.adapter(self.name, VARIANT), self.p.training_rows(self.name)

    def run(self) -> dict[str, dict[str, dict[str, Any]]]:
        """By plant ("clean" for none), what each check says: its section, verdict and numbers, by `section check`."""
        found = {plant.name: self.kept(plant, self.comprehensive) for plant in PLANTS}
        clean = self.kept(None, self.comprehensive) | self.kept(None, self.generalisation)
        return {"clean": clean, **found, MEMORY.name: self.kept(MEMORY, self.generalisation)}

    def kept(self, plant: Plant | None, suite: Callable[[Plant | None], dict[str, Any]]) -> dict[str, Any]:
        """What a suite says, from the last time when nothing that it depends on has changed."""
        from pp_assets.experiment.fingerprint import fingerprint
        from pp_assets.sources import source_digest
        from pp_resources.fingerprint import digest

        code = source_digest("pp_assets.evaluation.suite.build", "pp_assets.evaluation.generalisation")
        fault = [fingerprint(part).digest for part in (plant.fires, other_class)] if plant else []
        key = digest([self.trained.digest, self.task.digest, code, fault, self.items])[:16]
        file = self.home / "said" / f"{self.name}-{plant.name if plant else 'clean'}-{suite.__name__}-{key}.json"
        if not file.exists():
            said = suite(plant)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(said, indent=1))
            print(f"{self.name}: {plant.name if plant else 'clean'}, {suite.__name__}", flush=True)
        return json.loads(file.read_text())  # type: ignore[no-any-return]

    def model(self, plant: Plant | None, trial: int = 0) -> Any:
        """The trained model, with a fault where one is planted."""
        predictor = self.asking.of(self.trained, trial=trial)
        if plant is None:
            return predictor
        from pp_resources.json_schema import dump_output

        rows = self.rows.train if plant is MEMORY else []
        by_heart = {row.input_text: dump_output(self.task.output_schema, row.output) for row in rows}
        return Planted(VARIANT, predictor, self.task.output_schema, plant.fires, by_heart)

    def comprehensive(self, plant: Plant | None) -> dict[str, Any]:
        """Verdict and figure of each check. The metrics of texts, which no plant is for, go without an encoder."""
        from pp_assets.evaluation.suite.asking import Subject
        from pp_assets.evaluation.suite.build import build_suite, chosen

        seen = {"train": self.rows.train, "val": self.rows.val}
        subject = Subject(VARIANT, self.model(plant), again=lambda trial: self.model(plant, trial))
        test = chosen(sorted(self.test(), key=lambda e: e.item_id), self.task.spec.seed, self.items)
        document = build_suite(self.task.spec, test, seen, subject, encoder=None).document
        figures = comprehensive_figures(document)
        verdicts = {f"{line['section']} {line['name']}": line["verdict"] for line in document["verdicts"]}
        return {key: {"verdict": verdict, **figures.get(key, {"what": ""})} for key, verdict in verdicts.items()}

    def generalisation(self, plant: Plant | None) -> dict[str, Any]:
        """Verdict and figure of the gap between training and test rows."""
        from pp_assets.evaluation.generalisation import generalisation
        from pp_assets.evaluation.predictions import make_rows
        from pp_assets.generalisations import samples
        from pp_resources.json_schema import dump_output

        model, said = self.model(plant), {}
        for split, rows in {**samples(self.rows, self.task.spec.seed), "test": self.test()}.items():
            answers = model.predict([row.input_text for row in rows])
            said[split] = make_rows(rows, answers, lambda output: dump_output(self.task.output_schema, output))
        document = generalisation(self.task.spec, said, {}, {})
        gap = document["gaps"][0]
        return {f"{MEMORY.section} {MEMORY.check}": {"verdict": gap["verdict"], **figure("gap", gap["effect"], gap["low"], gap["high"])}}

    def test(self) -> list[Any]:
        from pp_assets.task.examples import open_test_split

        return open_test_split(self.p.current("datasets", self.name).path, self.p.ledger, self.name, "bench/planted.py")


def taken(p: Any, name: str, folder: Path) -> Any:
    """A trained folder from elsewhere as the task's adapter."""
    from pp_resources.fingerprint import digest, file_sha256

    files = {path.relative_to(folder).as_posix(): file_sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    build = lambda out: shutil.copytree(folder, out, dirs_exist_ok=True) and None  # noqa: E731
    return p.store.produce("adapters", f"{name}/{VARIANT}", {"files": digest(files)}, build)


def figure(what: str, value: float, low: float | None, high: float | None) -> dict[str, Any]:
    return {"what": what, "value": value, "low": low, "high": high}


def comprehensive_figures(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By check the number that its verdict rests on: the effect on whole objects, or the share of answers that flip (of the worst pair)."""
    found = {}
    for name, one in document["robustness"]["families"].items():
        if "effect" in one:
            found[f"robustness {name}"] = figure("effect", one["effect"], one["low"], one["high"])
    flips = {f"consistency wrapper {name}": one for name, one in document["consistency"]["wording"]["variants"].items()}
    for name, dimension in document["bias"]["dimensions"].items():
        if dimension["groups"]:
            flips[f"bias {name}"] = max(dimension["groups"].values(), key=lambda pair: pair["flips"])
    return found | {key: figure("flips", one["flips"], one["flip_low"], one["flip_high"]) for key, one in flips.items()}


def as_table(found: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]) -> str:
    """The plants, then what is reported of the clean models, then the RESULT line."""
    plants = (*PLANTS, MEMORY)
    lines = ["| task | plant | the check meant for it | planted | clean | reported of the planted model alone, elsewhere |"]
    lines.append("| --- " * 6 + "|")
    counts = dict.fromkeys(("found", "false", "beyond", "elsewhere"), 0)
    for task, said in found.items():
        for plant in plants:
            key = f"{plant.section} {plant.check}"
            planted, clean = said[plant.name][key], said["clean"][key]
            more = [k for k, one in said[plant.name].items() if k != key and wrong(one) and not wrong(said["clean"][k])]
            counts["found"] += wrong(planted)
            counts["false"] += wrong(clean)
            counts["beyond"] += not clean["low"] <= planted["value"] <= clean["high"]
            counts["elsewhere"] += len(more)
            lines.append(f"| {task} | {plant.name} | {key} | {told(planted)} | {told(clean)} | {', '.join(more) or 'nothing'} |")
    lines += ["", "What the plants do: " + "; ".join(f"{plant.name}: {plant.what}" for plant in plants) + ".", ""]
    lines += ["| clean model of | what is reported of it | cannot tell | holds |", "| --- | --- | --: | --: |"]
    for task, said in found.items():
        reported = "; ".join(f"{key} {numbers(one)}" for key, one in said["clean"].items() if wrong(one))
        verdicts = [one["verdict"] for one in said["clean"].values() if not wrong(one)]
        unknown = verdicts.count("cannot tell")
        lines.append(f"| {task} | {reported or 'nothing'} | {unknown} | {len(verdicts) - unknown} |")
    checks = len(plants) * len(found)
    shares = " ".join(f"{name}={counts[name] / checks:.3f}" for name in ("found", "false", "beyond"))
    return "\n".join([*lines, "", f"RESULT {shares} plants={checks} elsewhere={counts['elsewhere']}"])


def wrong(one: Mapping[str, Any]) -> bool:
    return one["verdict"] in WRONG


def told(one: Mapping[str, Any]) -> str:
    return f"{'**' + one['verdict'] + '**' if wrong(one) else one['verdict']}, {numbers(one)}"


def numbers(one: Mapping[str, Any]) -> str:
    return f"{one['what']} {one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]" if one["what"] else ""


if __name__ == "__main__":
    main()

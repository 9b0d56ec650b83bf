"""A package folder and the questions that can be put to it: each returns what it found in order, or raises Wrong or Skipped."""

import re
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from pp_assets.evaluation.predictions import PredictionRow, System
from pp_assets.evaluation.report import verify_report
from pp_assets.packaging.card import CardFacts, model_card
from pp_assets.packaging.layout import (
    CARD,
    DATA_CARD,
    DEPLOY,
    GOLDEN,
    LOCK,
    REPORT,
    SPEC,
    SPLITS,
    TRAINING,
    file_problems,
    read_all_systems,
    read_json,
    read_lines,
    read_manifest,
    read_object,
    sum_problems,
    unsafe,
)
from pp_assets.packaging.lock import OURS, installed, lock_facts
from pp_assets.task.reader import item_id
from pp_assets.task.spec import TaskSpec, parse_spec, spec_digest
from pp_resources.errors import UserError
from pp_resources.settings import Settings

SHOWN = 5  # problems told in one line
OCCURRENCES = 200  # equal rows of an official split get ids of their own; more than these are not looked for
THREADS = 64
_PICTURE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=]*")


class Wrong(Exception):
    """What a check has found, as a sentence."""


class Skipped(Exception):
    """Why a check could not be made."""


class Opened:
    """A package being checked; every part is read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return read_manifest(self.folder)

    @cached_property
    def spec(self) -> TaskSpec:
        return parse_spec(read_object(self.folder / SPEC), SPEC)

    @cached_property
    def systems(self) -> list[System]:
        return read_all_systems(self.folder)

    @cached_property
    def report(self) -> dict[str, Any]:
        return read_object(self.folder / REPORT)

    @cached_property
    def training(self) -> dict[str, Any]:
        return read_object(self.folder / TRAINING)

    @cached_property
    def answers(self) -> list[PredictionRow]:
        """The candidate's."""
        return next(s["rows"] for s in self.systems if s["name"] == self.training["variant"] and s["kind"] == "candidate")

    def is_safe(self) -> str:
        told = f"{self.manifest['key']}, written {self.manifest['created_at']}"
        _none(unsafe(self.folder))
        return f"{told}; plain files, no code, no pickle"

    def files_are_whole(self) -> str:
        _none(file_problems(self.folder, self.manifest))
        return f"{len(self.manifest['files'])} files are as the manifest says"

    def sums_agree(self) -> str:
        _none(sum_problems(self.folder, self.manifest))
        return "SHA256SUMS agrees with the manifest"

    def spec_has_its_digest(self) -> str:
        found, metadata = spec_digest(self.spec), self.manifest["metadata"]
        lock = lock_facts((self.folder / LOCK).read_text("utf-8"))
        stated, locked = metadata.get("task_digest"), lock.get("task_spec_digest")
        if not found == stated == locked:
            raise Wrong(f"{SPEC} has digest {found}, the manifest says {stated}, {LOCK} {locked}")
        base = self.training["base_weights_sha256"]
        if not base == metadata.get("base_weights_sha256") == lock.get("base_weights_sha256"):
            raise Wrong(f"{TRAINING}, {LOCK} and the manifest name different base weights")
        return f"task {self.spec.name!r}, digest {found}"

    def items_are_the_test_split(self) -> str:
        listed = read_object(self.folder / SPLITS)["splits"]["test"]
        wanted = set(listed)
        for system in self.systems:
            ids, where = Counter(row.item_id for row in system["rows"]), f"predictions of {system['name']}"
            problems = [f"{name} was answered {n} times" for name, n in sorted(ids.items()) if n > 1]
            problems += [f"test item {name} has no answer" for name in sorted(wanted - ids.keys())]
            problems += [f"{name} is no test item" for name in sorted(ids.keys() - wanted)]
            _none([f"{where}: {problem}" for problem in problems])
            wrong = (row.item_id for row in system["rows"] if not _is_its_own(row))
            _none([f"{where}: input or expected output of {name} is not that of its id" for name in islice(wrong, SHOWN)])
        return f"{len(self.systems)} systems answered exactly the {len(wanted)} test items; inputs and expected outputs have their hashes"

    def report_follows_from_answers(self) -> str:
        if not self.report.get("candidate") == self.training["variant"] == self.manifest["metadata"].get("variant"):
            raise Wrong(f"{REPORT} is on {self.report.get('candidate')!r}, the adapter is {self.training['variant']!r}")
        if self.manifest["metadata"].get("verdict") != self.report["verdict"]["label"]:
            raise Wrong(f"the manifest says {self.manifest['metadata'].get('verdict')!r}, {REPORT} {self.report['verdict']['label']!r}")
        _none([f"{REPORT}: {line}" for line in verify_report(self.report, self.spec, self.systems)])
        numbers = sum(len(system["metrics"]) for system in self.report["systems"])
        label = self.report["verdict"]["label"]
        return f"{numbers} metrics of {len(self.systems)} systems and the verdict {label!r} recomputed from the stored answers"

    def texts_follow_from_report(self) -> str:
        from pp_assets.evaluation.drawing import left_empty
        from pp_assets.evaluation.html import report_html
        from pp_assets.evaluation.markdown import report_markdown
        from pp_assets.evaluation.plots import render_plots

        licence = str(self.manifest["metadata"].get("base_license", ""))
        runtimes = read_json(self.folder / DEPLOY / "runtimes.json")
        generated = (self.folder / DATA_CARD).exists()
        facts = CardFacts(self.spec, self.report, self.training, read_object(self.folder / SPLITS), licence, runtimes, generated)
        with left_empty():  # pictures are not compared, the places that they take are
            empty = render_plots(self.report)
        again = {
            "eval_report.md": report_markdown(self.report),
            "eval_report.html": report_html(self.report, empty),
            CARD: model_card(facts),
        }
        wrong = [why for name, text in again.items() if (why := _first_difference(name, (self.folder / name).read_text("utf-8"), text))]
        theirs, ours = self.manifest["metadata"].get("written_by"), installed().get(OURS, "unknown")
        if wrong and theirs != ours:
            wrong.append(f"written by version {theirs}, this is {ours}, whose wording may differ")
        _none(wrong)
        return f"{', '.join(again)} say what the report says (pictures are covered by their hash only)"

    def golden_were_evaluated(self) -> str:
        stored = {row.item_id: (row.input_text, row.output) for row in self.answers}
        lines = read_lines(self.folder / GOLDEN)
        known = [stored.get(str(line.get("item_id"))) == (line.get("input_text"), line.get("output")) for line in lines]
        _none([f"{GOLDEN}: item {line.get('item_id')} is not as in the stored answers" for line, ok in zip(lines, known) if not ok])
        if not lines:
            raise Wrong(f"{GOLDEN} is empty")
        return f"{len(lines)} golden prompts are among the evaluated answers"

    def golden_replay(self, threads: int | None) -> str:
        from pp_assets.training.predictors import bases_of, load_predictor
        from pp_resources.models.bases import find_base

        bases = bases_of(self.training)
        try:
            for model_id in bases:
                find_base(model_id)
        except UserError as error:
            raise Skipped(f"base not found ({error}); --no-replay checks everything else") from error
        lines = read_lines(self.folder / GOLDEN)
        used, device = threads or _threads(self.report), Settings.from_env().device
        answers = load_predictor(self.folder, self.spec, used, device).predict([line["input_text"] for line in lines])
        pairs = [(line, answer.text) for line, answer in zip(lines, answers, strict=True) if line["output"] != answer.text]
        if pairs:
            told = _listed([f"{line['item_id']}: stored {line['output']}, now {text}" for line, text in pairs])
            raise Wrong(
                f"{len(pairs)} of {len(lines)} golden answers differ: {told}. Another type of processor, or a GPU, may round differently"
            )
        return f"{len(lines)} golden prompts gave the same text on {', '.join(bases)} with {used} threads"


def _none(problems: list[str]) -> None:
    if problems:
        raise Wrong(_listed(problems))


def _listed(problems: list[str]) -> str:
    more = f" (and {len(problems) - SHOWN} more)" if len(problems) > SHOWN else ""
    return "; ".join(problems[:SHOWN]) + more


def _is_its_own(row: PredictionRow) -> bool:
    """Whether the id is the hash of input and expected output, as the data set makes it."""
    output = orjson.dumps(orjson.loads(row.expected), option=orjson.OPT_SORT_KEYS)
    return any(item_id(row.input_text, output, occurrence) == row.item_id for occurrence in range(OCCURRENCES))


def _first_difference(name: str, stored: str, again: str) -> str:
    """The first line that differs; "" when none does. Pictures are left out: they depend on the version of the drawing library."""
    ours, theirs = (_PICTURE.sub("", text.encode("utf-8", "backslashreplace").decode()).split("\n") for text in (again, stored))
    for number, (a, b) in enumerate(zip(ours, theirs), 1):
        if a != b:
            return f"{name}:{number}: says {b[:200]!r}, the report gives {a[:200]!r}"
    return "" if len(ours) == len(theirs) else f"{name}: has {len(theirs)} lines, the report gives {len(ours)}"


def _threads(report: Mapping[str, Any]) -> int:
    """Thread count of the evaluation: sums in another order may round differently."""
    stated = (report.get("provenance") or {}).get("hardware", {}).get("threads", 1)
    return min(max(int(stated), 1), THREADS)

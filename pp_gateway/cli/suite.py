"""`pp eval --suite`: what a suite found, as a summary or as JSON."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from pp_gateway.cli.output import Output, interval, line, table
from pp_gateway.cli.stages import StageLog
from pp_resources.artifacts import Artifact
from pp_resources.errors import UserError, nearest

SUITES = ("comprehensive", "generalisation")
SuiteOption = Annotated[str | None, typer.Option("--suite", help=f"Also run a suite of tests: {', '.join(SUITES)}.")]


def check_suite(name: str | None) -> None:
    """Raise UserError for a name that is no suite, before anything is run."""
    if name is not None and name not in SUITES:
        raise UserError(f"unknown suite {name!r}", where="--suite", how=nearest(name, SUITES))


def check_parts(suite: str | None, **wanted: bool) -> None:
    """Raise UserError where a part of the generalisation suite is wanted without it."""
    for name, asked in wanted.items():
        if asked and suite != "generalisation":
            raise UserError(f"--{name} is part of --suite generalisation", where=f"--{name}", how="add --suite generalisation")


def show_generalisation(out: Output, log: StageLog, made: Artifact) -> None:
    """The verdict, scores by split, gaps, leak probes, the curve, where to read all of it."""
    from pp_assets.evaluation.generalisation_page import GAP_HEAD, PROBE_HEAD, SCORE_HEAD, gap_rows, probe_notes, probe_rows, score_rows
    from pp_assets.pipeline import read_json

    document = read_json(made.file("generalisation.json"))
    page = str(made.file("generalisation.md"))
    if out.result({"path": str(made.path), "page": page, "reused": made.reused, "generalisation": document, **log.as_dict()}):
        return
    line(f"{document['task']}/{document['variant']}: {document['verdict']}: {document['reason']}")
    for name in document["leaks"]:
        line(f"leak: {name}")
    table(SCORE_HEAD, score_rows(document), right=("n",))
    table(GAP_HEAD, gap_rows(document))
    table(PROBE_HEAD, probe_rows(document), right=("n",))
    for told in (*probe_notes(document), document["curve_reason"]):
        if told:
            line(told)
    if document["curve"]:
        points = [(str(p["rows"]), interval(p["value"], p["low"], p["high"])) for p in document["curve"]]
        table(("training rows", f"{document['metric']} on validation rows"), points, right=("training rows",))
    line(f"page     {page}")
    line(log.said())


def show_suite(out: Output, log: StageLog, made: Artifact) -> None:
    """The families, the verdicts, where to read all of it."""
    from pp_assets.pipeline import read_json

    document = read_json(made.file("suite.json"))
    paths = {"path": str(made.path), "page": str(made.file("suite.html"))}
    asked = 0 if made.reused else made.metadata["asked"]
    if out.result({**paths, "reused": made.reused, "asked": asked, "suite": document, **log.as_dict()}):
        return
    _summary(document, asked)
    line(f"suite    {paths['page']}")
    line(log.said())


def _summary(document: Mapping[str, Any], asked: int) -> None:
    from pp_assets.evaluation.suite.cells import FAMILY_HEAD, family_rows

    calls, clean = document["model_calls"], document["clean"]["object_exact_match"]
    line(f"{document['task']}/{document['variant']}: {clean['value']:.3f} of whole objects right on {document['test_items']} clean items")
    table(FAMILY_HEAD, family_rows(document), right=("n",), whole=("family", "n", "effect", "interval", "verdict"))
    line("clean, changed: whole objects right; flips: answers that are not the clean answer any more")
    line()
    others = [v for v in document["verdicts"] if v["section"] != "robustness"]
    table(("section", "name", "verdict", "numbers"), [tuple(v.values()) for v in others], whole=("section", "name", "verdict"))
    line(f"{calls['texts_answered']} texts answered by the model, of {calls['texts_wanted']} that were wanted; {asked} asked in this run")

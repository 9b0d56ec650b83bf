"""`pp eval --suite comprehensive`: what the suite found, as a summary or as JSON."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from pp_gateway.cli.output import Output, line, table
from pp_gateway.cli.stages import StageLog
from pp_resources.artifacts import Artifact
from pp_resources.errors import UserError, nearest

SUITES = ("comprehensive",)
SuiteOption = Annotated[str | None, typer.Option("--suite", help=f"Also run a suite of tests: {', '.join(SUITES)}.")]


def check_suite(name: str | None) -> None:
    """Raise UserError for a name that is no suite, before anything is run."""
    if name is not None and name not in SUITES:
        raise UserError(f"unknown suite {name!r}", where="--suite", how=nearest(name, SUITES))


def show_suite(out: Output, log: StageLog, made: Artifact) -> None:
    """The families, the verdicts, where to read all of it."""
    from pp_assets.pipeline import read_json

    document = read_json(made.file("suite.json"))
    paths = {"path": str(made.path), "page": str(made.file("suite.html"))}
    if out.result({**paths, "reused": made.reused, "suite": document, **log.as_dict()}):
        return
    _summary(document)
    line(f"suite    {paths['page']}")
    line(log.said())


def _summary(document: Mapping[str, Any]) -> None:
    from pp_assets.evaluation.suite.cells import FAMILY_HEAD, family_rows

    calls, clean = document["model_calls"], document["clean"]["object_exact_match"]
    line(f"{document['task']}/{document['variant']}: {clean['value']:.3f} of whole objects right on {document['test_items']} clean items")
    table(FAMILY_HEAD, family_rows(document), right=("n",), whole=("family", "n", "effect", "interval", "verdict"))
    line("clean, changed: whole objects right; flips: answers that are not the clean answer any more")
    line()
    others = [v for v in document["verdicts"] if v["section"] != "robustness"]
    table(("section", "name", "verdict", "numbers"), [tuple(v.values()) for v in others], whole=("section", "name", "verdict"))
    line(f"{calls['texts_answered']} texts answered by the model, of {calls['texts_wanted']} that were wanted")

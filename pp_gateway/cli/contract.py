"""`pp contract`: what a good answer is, as a file that is derived, edited, scored by and calibrated."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, interval, line, number, signed, table
from pp_gateway.cli.tasks import TaskArgument, settle
from pp_resources.errors import UserError

if TYPE_CHECKING:
    from pp_assets.task.contract.spec import Contract
    from pp_assets.task.examples import Example
    from pp_assets.task.spec import Task

app = typer.Typer(help="Say what a good answer is, score by it, calibrate it.", no_args_is_help=True)
TaskOrFile = Annotated[str, typer.Argument(metavar="TASK", help="Name of a task, the path of its folder, or a contract file.")]
Judge = Annotated[bool, typer.Option("--judge/--no-judge", help="Ask the provider that PP_PROVIDER_URL names, where there is one.")]


@app.command()
def generate(task: TaskArgument, judge: Judge = True, as_json: JsonFlag = False) -> None:
    """Write the contract that a task implies: schema, enums, limits, what is copied, rubric. What you changed in it stays.

    Where a provider is set, it suggests further questions.

    Example: pp contract generate support-triage --no-judge
    """
    from pp_assets.task.contract import files

    out = Output(as_json)
    found, rows = _task(task)
    file, merged = files.generate(found, rows, _provider(judge))
    made = files.load_contract(found)
    if out.result({"task": found.name, "file": str(file), "notes": merged.notes, "nodes": _nodes(made)}):
        return
    line(f"{file}: {len(list(made.nodes()))} nodes in {len(made.dimensions)} dimensions")
    for note in merged.notes or ["nothing changed"]:
        line(f"  {note}")


@app.command()
def show(task: TaskOrFile, as_json: JsonFlag = False) -> None:
    """Show a contract: each node with its share of the total.

    Example: pp contract show support-triage
    """
    out = Output(as_json)
    made, found = _contract(task)
    if out.result({"name": made.name, "aggregation": made.aggregation, "flat": made.flat, "digest": made.digest, "nodes": _nodes(made)}):
        return
    from pp_assets.task.contract.files import contract_file

    source = "" if found is None else f" ({contract_file(found) or 'derived from the task; pp contract generate writes it'})"
    line(f"{made.name or task}: {made.aggregation} mean{' of flat questions' if made.flat else ''}{source}")
    rows = [(n["path"], n["kind"], f"{n['share']:.1%}", n["settings"][:60], n["marks"]) for n in _nodes(made)]
    table(("node", "kind", "share", "settings", ""), rows, right=("share",), whole=("node",))


@app.command()
def edit(
    task: TaskArgument,
    node: Annotated[str, typer.Argument(help="dimension, or dimension/sub-dimension; a new one is added.")],
    values: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Such as weight=2 or kind=length minimum=1.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take it out; it stays out when the contract is generated again.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Change a contract's file, in the same way as an editor would; an empty value takes a setting away.

    Examples:

        pp contract edit support-triage values/category weight=3

        pp contract edit support-triage tone/polite "description=Is the answer polite?"
    """
    from pp_assets.task.contract.edit import edit_node

    out = Output(as_json)
    found, rows = _task(task)
    file = edit_node(found, rows, node, values or [], remove=remove)
    if not out.result({"task": found.name, "file": str(file), "node": node}):
        line(f"{file}: {node} {'removed' if remove else 'written'}")


@app.command()
def score(
    task: TaskOrFile,
    file: Annotated[Path | None, typer.Option(help="JSON lines with input_text, output, maybe label; a task's data will do.")] = None,
    input_text: Annotated[str | None, typer.Option("--input", help="One input.")] = None,
    output: Annotated[str | None, typer.Option(help="The output for it.")] = None,
    to: Annotated[Path | None, typer.Option(help="Write the scores of each row there, as JSON lines.")] = None,
    judge: Judge = True,
    as_json: JsonFlag = False,
) -> None:
    """Score a file, or one output. What cannot be scored has no score and a reason.

    Examples:

        pp contract score support-triage --file tasks/support-triage/data.jsonl

        pp contract score support-triage --input "Where is A-1?" --output '{"category": "delivery"}'
    """
    from pp_assets.task.contract.asked import helpers
    from pp_assets.task.contract.marks import score_file
    from pp_assets.task.contract.rules import Row
    from pp_assets.task.contract.score import score_rows
    from pp_gateway.cli.stages import watching

    out = Output(as_json)
    made, found = _contract(task)
    if (file is None) == (input_text is None or output is None):
        raise UserError("give --file, or --input with --output", where="command line", how="one of them, not both")
    given = helpers(made, _provider(judge), found.spec.encoder_model_id if found else None)
    if file is None:
        one = score_rows(made, [Row(str(input_text), output)], **given).row(0)
        if not out.result(one):
            _show_one(one)
        return
    with watching("scoring"):
        counted = score_file(made, file, to, given)
    records = counted.records()
    if out.result({"file": str(file), "rows": counted.rows, "coverage": counted.coverage, "contract": made.digest, "scores": records}):
        return
    line(f"{file}: {counted.rows} rows, {counted.coverage:.0%} of the weight scored")
    shown = [(r["path"], str(r["n"]), interval(r["mean"], r["low"], r["high"]), str(r["broken"]), r["why_missing"][:90]) for r in records]
    table(("", "n", "mean", "below 0.5", "no score"), shown, right=("n", "below 0.5"), whole=("",))


@app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="TASK", help="Name of a task, or a contract file.")],
    to: Annotated[Path, typer.Argument(help="The file to write, .yaml or .json.")],
    flat: Annotated[bool, typer.Option("--flat/--tree", help="Flat questions, or a tree of dimensions.")] = True,
    as_json: JsonFlag = False,
) -> None:
    """Write a contract in the other form: nothing is lost either way.

    Example: pp contract convert support-triage questions.yaml --flat
    """
    from pp_assets.task.contract.files import write_contract

    made, _ = _contract(source)
    write_contract(to, made, flat=flat)
    count = len(list(made.nodes()))
    if not Output(as_json).result({"file": str(to), "nodes": count, "flat": flat}):
        line(f"{to}: {count} {'questions' if flat else 'nodes'}")


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="A contract or scoring spec of the founding API, as JSON.")],
    to: Annotated[Path, typer.Argument(help="The file to write, .yaml or .json.")],
    aggregation: Annotated[str, typer.Option(help="arithmetic, geometric or harmonic: the file does not say.")] = "arithmetic",
    as_json: JsonFlag = False,
) -> None:
    """Take over a contract of the founding API (Pi), of any of its eras. Python code in it is written beside it, and not run.

    Example: pp contract import scoring_spec.json contract.yaml --aggregation geometric
    """
    from pp_assets.task.contract.imported import import_file

    out = Output(as_json)
    made, written = import_file(source, to, aggregation)
    told = {"file": str(to), "nodes": _nodes(made.contract), "modules": [str(path) for path in written], "notes": made.notes}
    if out.result(told):
        return
    line(f"{to}: {len(told['nodes'])} nodes")
    for note in [*made.notes, *(f"{path}: read it, then put it where Python finds it" for path in written)]:
        line(f"  {note}")


@app.command()
def calibrate(
    task: TaskOrFile,
    marks: Annotated[Path, typer.Argument(help="JSON lines with input_text, output and score or rating; or with chosen and rejected.")],
    to: Annotated[Path | None, typer.Option(help="Where to write it. Default: the task's own contract file.")] = None,
    seed: Annotated[int, typer.Option(help="Of the folds and of the bootstrap.")] = 0,
    judge: Judge = True,
    as_json: JsonFlag = False,
) -> int:
    """Fit maps and weights to what people said, compare before and after on held-out inputs, and write the contract if it is better.

    Ends with 1, with nothing written, where that is not sure.

    Example: pp contract calibrate support-triage marks.jsonl
    """
    from pp_assets.task.contract.asked import helpers
    from pp_assets.task.contract.calibrate import as_record
    from pp_assets.task.contract.calibrate import calibrate as run
    from pp_assets.task.contract.files import target, write_contract
    from pp_assets.task.contract.marks import read_marks
    from pp_gateway.cli.stages import watching

    out = Output(as_json)
    made, found = _contract(task)
    file = to or (target(found) if found else Path(task))
    with watching("calibrating"):
        given = helpers(made, _provider(judge), found.spec.encoder_model_id if found else None)
        done = run(made, read_marks(marks, made, **given), seed=seed)
    if not done.refused:
        write_contract(file, done.contract, found)
    if not out.result({**as_record(done), "file": None if done.refused else str(file)}):
        line(f"{done.n} held-out outputs of {done.groups} inputs, five folds of whole inputs, 95 % intervals by bootstrap over inputs")
        rows = [(m.name, _triple(m.before), _triple(m.after), _triple(m.difference, sign=True), m.reason) for m in done.measured]
        table(("", "before", "after", "difference", ""), rows)
        line(f"refused: {done.refused}" if done.refused else f"written to {file}")
    return 1 if done.refused else 0


def _task(name: str) -> "tuple[Task, list[Example]]":
    """The task, and its training rows where they have been read."""
    from pp_assets.contracts import known_rows
    from pp_assets.pipeline import Pipeline

    settings, name = settle(name)
    pipeline = Pipeline(settings)
    return pipeline.task(name), known_rows(pipeline, name)


def _contract(name: str) -> "tuple[Contract, Task | None]":
    from pp_assets.task.contract.files import load_contract, read_contract

    file = Path(name)
    if file.is_file() and file.stem != "task":
        return read_contract(file), None
    found, rows = _task(name)
    return load_contract(found, rows), found


def _provider(wanted: bool) -> Any:
    from pp_assets.providers import provider_from_env

    return provider_from_env() if wanted else None


def _nodes(contract: "Contract") -> list[dict[str, Any]]:
    from pp_assets.task.contract.table import node_records

    return node_records(contract)


def _show_one(found: dict[str, Any]) -> None:
    rows = [("total", number(found["total"]), found["reasons"].get("total", f"({found['coverage']:.0%} of the weight scored)"))]
    for label, dimension in found["dimensions"].items():
        rows.append((label, number(dimension["score"]), found["reasons"].get(label, "")))
        below = dimension["sub_dimensions"].items()
        rows += [(f"  {node}", number(value), found["reasons"].get(f"{label}/{node}", "")) for node, value in below]
    table(("", "score", ""), rows, right=("score",))


def _triple(found: Any, *, sign: bool = False) -> str:
    if found is None:
        return "–"
    return f"{signed(found[0])} [{signed(found[1])}, {signed(found[2])}]" if sign else interval(*found)

"""`pp review`: accept, reject or edit generated rows and rows whose label is in doubt, one key each, or by id for scripts."""

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, line, number, table
from pp_gateway.cli.tasks import TaskArgument, settle
from pp_resources.errors import UserError, nearest

if TYPE_CHECKING:
    from pp_assets.data.queue import ReviewItem
    from pp_assets.pipeline import Pipeline

KEYS = "[a]ccept  [r]eject  [e]dit  [t]ake the suggestion  [s]kip  [q]uit"
Ids = Annotated[list[str] | None, typer.Option(metavar="ID", help="May be repeated.")]


def review(
    task: TaskArgument,
    listed: Annotated[bool, typer.Option("--list", help="Show the queue and decide nothing.")] = False,
    accept: Ids = None,
    reject: Ids = None,
    edit: Annotated[tuple[str, Path] | None, typer.Option(metavar="ID FILE", help="Replace a row by that of FILE.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Take over rows whose label is in doubt (label_errors.jsonl).")] = None,
    export: Annotated[Path | None, typer.Option(help="Write accepted and edited rows as lines of a data file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Look at rows, the newest and most doubtful first. Decisions are kept: a rejected row never comes back, an edited one is replaced.

    In a terminal one key decides, and Ctrl-C loses nothing. FILE of --edit holds an object with input_text and output_json.

    Examples:

        pp review support-triage

        pp review support-triage --list --json

        pp review support-triage --reject 1f2e3d4c5b6a7980 --export reviewed.jsonl
    """
    from pp_assets.data.queue import hand_in, queue
    from pp_assets.pipeline import Pipeline

    out = Output(as_json)
    settings, name = settle(task)
    pipeline = Pipeline(settings)
    counts: dict[str, Any] = {"suspects": hand_in(settings.home, name, labels)} if labels else {}
    items = queue(pipeline, name, decided=True)
    by_id = {item.item_id: item for item in items}
    wanted = [("accept", item) for item in accept or ()] + [("reject", item) for item in reject or ()]
    for item in [item for _, item in wanted] + ([edit[0]] if edit else []):
        if item not in by_id:
            raise UserError(f"no row {item!r} in the queue", where="command line", how=nearest(item, by_id) + "; nothing was decided")
    edited = _read_row(pipeline, name, edit[1]) if edit else None
    for decision, item in wanted:
        pipeline.decisions.decide(name, item, decision)  # type: ignore[arg-type]
    if edit and edited:
        pipeline.decisions.decide(name, edit[0], "edit", *edited)
    if not (listed or wanted or edit or labels or export):
        if not sys.stdin.isatty():
            raise UserError("a review by keys needs a terminal", where="standard input", how="use --list, --accept, --reject, --edit")
        _by_keys(pipeline, name, [item for item in items if item.decision is None])
    told = pipeline.decisions.of(name)
    counts |= {"accepted": len(told.accepted), "rejected": len(told.rejected), "edited": len(told.edited)}
    left = queue(pipeline, name)
    counts |= {"waiting": len(left)} | ({"exported": _export(pipeline, name, export)} if export else {})
    if out.result({"task": name, **counts} | ({"queue": [item.as_dict() for item in left]} if listed else {})):
        return
    if listed:
        rows = [(i.item_id, i.kind, number(i.novelty), number(i.disagreement), i.input_text[:80], json.dumps(i.output)[:80]) for i in left]
        table(("id", "kind", "novelty", "disagreement", "input", "output"), rows, whole=("id",))
    line(f"{name}: " + ", ".join(f"{n} {kind}" for kind, n in counts.items()))
    if told.rejected or told.edited:
        line(f"the next 'pp run {name}' goes by that")


def _by_keys(pipeline: "Pipeline", name: str, items: "list[ReviewItem]") -> None:
    from pp_assets.data.queue import suggestion

    for number_, item in enumerate(items, 1):
        hint = suggestion(pipeline, name, item)
        line(f"\n{number_} of {len(items)}  {item.item_id}  {item.kind}: {item.why}")
        if item.parent_text:
            line(f"  made from  {item.parent_text}")
        line(f"  input      {item.input_text}")
        line(f"  output     {json.dumps(item.output, ensure_ascii=False)}")
        if hint:
            line(f"  suggested  {json.dumps(hint, ensure_ascii=False)}")
        line(KEYS)
        if not _decided(pipeline, name, item, hint):
            return


def _decided(pipeline: "Pipeline", name: str, item: "ReviewItem", hint: dict[str, Any] | None) -> bool:
    """Read keys until one means something; False to stop."""
    while True:
        key = typer.getchar().lower()
        if key in ("a", "r"):
            pipeline.decisions.decide(name, item.item_id, "accept" if key == "a" else "reject")
        elif key == "t" and hint:
            pipeline.decisions.decide(name, item.item_id, "edit", item.input_text, hint)
        elif key == "e":
            try:
                pipeline.decisions.decide(name, item.item_id, "edit", *_in_editor(pipeline, name, item))
            except UserError as error:
                line(f"{error}\n{KEYS}")
                continue
        elif key not in ("s", "q", "\x04"):
            continue
        return key not in ("q", "\x04")


def _in_editor(pipeline: "Pipeline", name: str, item: "ReviewItem") -> tuple[str, Any]:
    from pp_gateway.cli.editor import edit_file

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{item.item_id}.json"
        file.write_text(
            json.dumps({"input_text": item.input_text, "output_json": item.output}, indent=1, ensure_ascii=False) + "\n", "utf-8"
        )
        edit_file(file)
        return _read_row(pipeline, name, file)


def _read_row(pipeline: "Pipeline", name: str, file: Path) -> tuple[str, Any]:
    """Input and output of an edited row, checked as feedback is."""
    from pp_assets.feedback.inbox import checked_output

    try:
        row = json.loads(file.read_text("utf-8"))
        text, output = row["input_text"], row["output_json"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"is no row ({error})", where=str(file), how="an object with input_text and output_json; nothing was decided"
        ) from None
    if not isinstance(text, str) or not text.strip():
        raise UserError("input_text is no text", where=str(file), how="nothing was decided")
    return text, checked_output(pipeline.task(name), text, output, str(file))


def _export(pipeline: "Pipeline", name: str, file: Path) -> int:
    from pp_assets.data.queue import queue
    from pp_resources.artifacts import write_atomic

    told, schema, lines = pipeline.decisions.of(name), pipeline.task(name).output_schema, []
    from pp_assets.task.examples import Example

    for item in queue(pipeline, name, decided=True):
        if item.item_id in told.accepted or item.item_id in told.edited:
            row = told.example(schema, Example(item.item_id, item.input_text, item.output))
            meta = {"reviewed": item.item_id, "decision": item.decision}
            lines.append(json.dumps({"input_text": row.input_text, "output_json": row.output, "meta": meta}, ensure_ascii=False))
    write_atomic(file, "".join(f"{text}\n" for text in lines))
    return len(lines)

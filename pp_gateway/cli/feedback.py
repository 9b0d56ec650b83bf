"""`pp feedback`: put what people say about answers into the inbox, and read it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, line, table
from pp_gateway.cli.stages import running
from pp_gateway.cli.tasks import TaskArgument, settle
from pp_resources.errors import UserError

if TYPE_CHECKING:
    from pp_assets.feedback.inbox import Added, Inbox
    from pp_assets.task.spec import Task

_FIELDS = {"input_text", "output", "rating", "comment", "answer", "source", "id"}

app = typer.Typer(help="Send feedback and read it.", no_args_is_help=True)


@app.command()
def add(
    task: TaskArgument,
    input_text: Annotated[str | None, typer.Argument(metavar="[INPUT]", help="The text that the feedback is about.")] = None,
    output: Annotated[str | None, typer.Option(help="The right output as JSON: a demonstration, from which the model learns.")] = None,
    good: Annotated[bool | None, typer.Option("--good/--bad", help="Whether the answer was right.")] = None,
    rating: Annotated[float | None, typer.Option(help="A rating as a number.")] = None,
    comment: Annotated[str | None, typer.Option(help="Words.")] = None,
    answer: Annotated[str | None, typer.Option(help="What the model had said, as JSON or as it came.")] = None,
    source: Annotated[str, typer.Option(help="Who says so.")] = "cli",
    id: Annotated[str | None, typer.Option("--id", help="Your id; sending the same id and content again changes nothing.")] = None,
    file: Annotated[Path | None, typer.Option(help="JSON lines with input_text and output, rating, comment, answer, source or id.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Store feedback durably. Sending the same twice changes nothing. Demonstrations start a new data version and retraining.

    Examples:

        pp feedback add support-triage "Where is A-1?" --output '{"category":"delivery", …}'

        pp feedback add support-triage "Where is A-1?" --bad --comment "not urgent"

        pp feedback add support-triage --file corrections.jsonl
    """
    from pp_assets.feedback.inbox import Inbox
    from pp_assets.task.spec import load_task

    out = Output(as_json)
    settings, name = settle(task)
    found, inbox = load_task(name, settings.tasks), Inbox(settings.home, settings.store_url)
    if good is not None and rating is not None:
        raise UserError("--good/--bad and --rating together", where="command line", how="give one of them")
    if (input_text is None) == (file is None):
        raise UserError("give INPUT or --file", where="command line", how="one of them, not both")
    if file is not None:
        added = _add_file(inbox, found, file, source)
    else:
        values = {"input_text": input_text, "rating": good if good is not None else rating, "comment": comment, "answer": answer}
        values |= {"source": source, "id": id}
        parsed = None if output is None else parsed_json(output, "--output")
        added = [_add(inbox, found, {**values, "output": parsed})]
    new = sum(entry.created for entry in added)
    if not out.result({"task": name, "stored": new, "known": len(added) - new, "entries": [entry._asdict() for entry in added]}):
        line(f"{name}: {new} stored, {len(added) - new} known already")


@app.command("list")
def list_(
    task: TaskArgument,
    after: Annotated[int, typer.Option(min=0, help="Only entries after this sequence number.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """List the feedback on a task, oldest first.

    Example: pp feedback list support-triage --after 40
    """
    from pp_assets.feedback.inbox import Inbox

    out = Output(as_json)
    settings, name = settle(task)
    entries = Inbox(settings.home, settings.store_url).entries(name, after)
    if out.result([asdict(entry) | {"output": None if entry.output is None else json.loads(entry.output)} for entry in entries]):
        return
    if not entries:
        line(f"no feedback on {name}" + (f" after {after}" if after else ""))
        return
    said = [entry.output or (f"{entry.rating:g} " if entry.rating is not None else "") + (entry.comment or "") for entry in entries]
    rows = [(str(e.seq), e.at[:16], e.kind, e.source, e.input_text[:60], text) for e, text in zip(entries, said, strict=True)]
    table(("seq", "at", "kind", "source", "input", "feedback"), rows, right=("seq",))


@app.command()
def clusters(
    task: TaskArgument,
    topic: Annotated[str | None, typer.Option(help="One topic, by its name.")] = None,
    offer: Annotated[str | None, typer.Option(help="What to make of it: dimension, seeds, slice or hint.")] = None,
    to: Annotated[Path | None, typer.Option(help="The file for it.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Group what people say about answers: what comes up most, weighed by how bad and how recent, and what the answers break.

    A topic can be made into a question for the contract, seeds for generation, a slice of the data or a hint for the prompt.

    Examples:

        pp feedback clusters support-triage

        pp feedback clusters support-triage --topic "priority, urgent" --offer seeds --to seeds.jsonl
    """
    from pp_assets.feedback_topics import OFFERS, write_offer

    out = Output(as_json)
    if len({topic is None, offer is None, to is None}) > 1:
        raise UserError("--topic, --offer and --to go together", where="command line", how="give all three or none")
    if offer is not None and offer not in OFFERS:
        from pp_resources.errors import nearest

        raise UserError(f"unknown offer {offer!r}", where="--offer", how=nearest(offer, OFFERS))
    settings, name = settle(task)
    with running(settings) as (runner, _):
        made = runner.feedback_clusters(name)
    if topic is not None and offer is not None and to is not None:
        written = write_offer(runner.pipeline, name, topic, offer, to)
        if not out.result(written):
            line(f"{offer} of {topic!r}: {written['lines']} lines in {to}")
        return
    found = json.loads(made.file("topics.json").read_text("utf-8"))
    if not out.result({"task": name, "entries": made.metadata["entries"], "topics": found}):
        _show_topics(name, made.metadata["entries"], found)


def _show_topics(name: str, entries: int, found: list[dict[str, Any]]) -> None:
    if not found:
        line(f"no feedback on {name}")
        return
    line(f"{name}: {entries} entries in {len(found)} topics, the heaviest first (size x loss x recency)")
    line()
    rows = []
    for one in found:
        sources = ", ".join(f"{source} {n}" for source, n in one["per_source"].items())
        broken = ", ".join(f"{node} {n}" for node, n in list(one["dimensions"].items())[:3])
        said = one["examples"][0]["comment"] or one["examples"][0]["input_text"]
        rows.append((one["topic"], one["rating"], str(one["size"]), f"{one['weight']:.1f}", sources, broken, said[:60]))
    table(("topic", "rating", "n", "weight", "sources", "answers break", "most typical"), rows, right=("n", "weight"))


def _add_file(inbox: "Inbox", task: "Task", file: Path, source: str) -> list["Added"]:
    """Add a file's lines in order. A bad line ends it and is named; those before it stay, and are known when they come again."""
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read: {error}", where=str(file), how="give JSON lines in UTF-8") from error
    added = []
    for number, row in enumerate(text.split("\n"), 1):
        if not row.strip():
            continue
        where = f"{file}:{number}"
        values = parsed_json(row, where)
        if not isinstance(values, dict) or not isinstance(values.get("input_text"), str):
            raise UserError("not an object with a text input_text", where=where)
        unknown = sorted(values.keys() - _FIELDS)
        if unknown:
            from pp_resources.errors import nearest

            raise UserError(f"unknown field {unknown[0]!r}", where=where, how=nearest(unknown[0], _FIELDS))
        try:
            added.append(_add(inbox, task, {"source": source, **values}))
        except UserError as error:
            raise UserError(error.what, where=f"{where}: {error.where}", how=error.how) from error
    return added


def _add(inbox: "Inbox", task: "Task", values: dict[str, Any]) -> "Added":
    return inbox.add(task, values.pop("input_text"), **values)


def parsed_json(text: str, where: str) -> Any:
    """A JSON value that a person gave. Raises UserError."""
    from pp_assets.task.spec_file import strict_json

    try:
        return strict_json(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"not JSON: {error}", where=where, how='give an object such as {"field": "value"}') from error

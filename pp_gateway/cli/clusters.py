"""`pp clusters`: what the inputs of a task are about, a map of any texts, the topics of new texts."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pp_gateway.cli.output import JsonFlag, Output, interval, line, table
from pp_gateway.cli.package import input_lines
from pp_gateway.cli.tasks import TaskArgument, settle
from pp_resources.errors import UserError


class _TaskFirst(TyperGroup):
    """`pp clusters TASK` is `pp clusters show TASK`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["show", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_TaskFirst, no_args_is_help=True, help="Topics of a task's inputs: [b]pp clusters TASK[/b] shows them.")


@app.command("show")
def show(
    task: TaskArgument,
    variant: Annotated[str | None, typer.Option("--variant", "-v", help="Add the score of this variant or baseline by topic.")] = None,
    map_page: Annotated[
        bool, typer.Option("--map", help="Print the path of the map, a page to open in a browser, and nothing else.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show the topics of a task's training inputs: size, share, name and whether it tells its members, trend, score, what changed.

    Examples:

        pp clusters show support-triage

        pp clusters show support-triage --variant encoder-lora

        pp clusters show support-triage --map
    """
    from pp_assets.pipeline import Pipeline
    from pp_assets.topics import topics_of

    out = Output(as_json)
    settings, name = settle(task)
    found = topics_of(Pipeline(settings), name, variant)
    if out.result(found):
        return
    if map_page:
        line(found["map"])
        return
    _table(found)


@app.command("map")
def map_texts(
    file: Annotated[Path, typer.Argument(help="JSON lines with input_text (or text, input), or a text a line.")],
    to: Annotated[Path | None, typer.Option("--out", "-o", help="Where to write the page. Default: beside the file, .html.")] = None,
    encoder: Annotated[str, typer.Option(help="The sentence encoder.")] = "sentence-transformers/all-MiniLM-L6-v2",
    as_json: JsonFlag = False,
) -> None:
    """Find the topics of any file of texts and draw their map: one page that works offline, with zoom, search, colours and a lasso.

    Example:

        pp clusters map messages.jsonl --out topics.html
    """
    import tempfile

    from pp_assets.topics import map_file
    from pp_gateway.cli.stages import watching
    from pp_resources.artifacts import check_place
    from pp_resources.settings import Settings

    out = Output(as_json)
    target = to or file.with_suffix(".html")
    check_place(target)
    if target.resolve() == file.resolve():
        raise UserError("the page would replace the texts", where=str(file), how="give another path with --out")
    home = Settings.from_env().home
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="map-", dir=home) as work, watching("map"):
        found = map_file(file, target, encoder=encoder, work=Path(work))
    if not out.result(found):
        _table(found)


@app.command("assign")
def assign(
    task: TaskArgument,
    file: Annotated[str, typer.Argument(metavar="[FILE|-]", help="Text, one input a line; - is standard input.")] = "-",
    as_json: JsonFlag = False,  # noqa: ARG001
) -> None:
    """Tell the topic of each line of text, one JSON record a line; -1 is a text that lies outside of every topic. Nothing is fitted.

    Example:

        echo "Where is my parcel?" | pp clusters assign support-triage
    """
    from pp_assets.pipeline import Pipeline
    from pp_assets.topics import assigned

    settings, name = settle(task)
    total = apart = 0
    with input_lines(file) as lines:
        for record in assigned(Pipeline(settings), name, lines):
            total, apart = total + 1, apart + (record["topic"] < 0)
            sys.stdout.write(json.dumps(record, ensure_ascii=False) + "\n")
    sys.stdout.flush()
    Output(False).say(f"{total} lines, {apart} outside of every topic")


def _table(found: dict[str, Any]) -> None:
    """Topics as a person reads them."""
    scored, timed = (any(t.get(key) for t in found["topics"]) for key in ("score", "trend"))
    head = ["id", "topic", "rows", "share", "told by name"] + ["trend"] * timed + ["right"] * scored + ["typical"]
    rows = []
    for t in found["topics"]:
        row = [str(t["topic"]), t["name"], str(t["size"]), f"{t['share']:.3f}", _placed(t)]
        row += [" ".join(str(part["rows"]) for part in t.get("trend", []))] * timed + [_score(t.get("score"))] * scored
        rows.append((*row, t["examples"][0]["input_text"][:80]))
    number = sum(t["topic"] >= 0 for t in found["topics"])
    line(f"{found['rows']} rows in {number} topics, {found['outliers']} outliers ({found['outliers'] / max(1, found['rows']):.1%})")
    table(head, rows, right=("id", "rows", "share", "told by name"))
    names = found["names"]
    if names["accuracy"] is not None:
        told = interval(names["accuracy"], names["low"], names["high"])
        placed = f"{names['placed']} of {names['asked']} held-back members"
        line(f"names     {placed} are nearest to the name of their topic: {told}, chance {names['chance']}")
    for number, change in enumerate(found["history"], 1):
        for event in change["events"]:
            if event["kind"] != "survived":
                was, now = (", ".join(map(str, event[key])) or "–" for key in ("old", "new"))
                line(f"refit {number}   {event['kind']}: {was} ({event['before']} rows) to {now} ({event['after']} rows)")
    line(f"map       {found['map']}")


def _placed(topic: dict[str, Any]) -> str:
    return "{}/{}".format(*topic["placed"]) if "placed" in topic else "–"


def _score(score: dict[str, Any] | None) -> str:
    return "–" if score is None else f"{interval(score['value'], score['low'], score['high'])} of {score['n']}"

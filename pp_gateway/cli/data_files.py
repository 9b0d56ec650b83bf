"""`pp data collect`, `clean`, `balance`, `validate`: from the files that people have to a file of sound rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, line, table
from pp_gateway.cli.stages import watching
from pp_gateway.cli.tasks import settle

NOT_SOUND = 1
To = Annotated[Path, typer.Option("--to", help="The JSONL file that is written.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A JSONL file of rows.")]


def collect(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="JSONL, CSV, TSV, Parquet, a saved data set's folder, transcripts.")],
    to: To,
    mapping: Annotated[
        list[str] | None, typer.Option("--map", help="PART=COLUMN, such as output_json.category=label; may be repeated.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make rows of a file or folder. Which column is what is remembered beside the source; bad rows are put apart with their reasons.

    Examples:

        pp data collect mails.csv --map input_text=body --map output_json.category=label --map source_id=ticket --to data.jsonl

        pp data collect chats.jsonl --to data.jsonl
    """
    from pp_assets.data.collect import collect as collected
    from pp_assets.data.collect import pairs

    with watching("collect"):
        done = collected(source, to, pairs(mapping or []))
    if not Output(as_json).result(vars(done) | {"to": str(to)}):
        line(f"{source} ({done.kind}): {done.rows} rows to {to}{_apart(done.rejected, done.quarantine)}")
        said = "remembered mapping" if done.remembered else "mapping"
        line(f"{said}: {', '.join(f'{part}={column}' for part, column in done.mapping.items())}")


def clean(
    file: File,
    to: To,
    mask: Annotated[bool, typer.Option("--mask", help="Also mask e-mail addresses, IBANs, cards, IP addresses and phone numbers.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Mend encoding and white space, in inputs and outputs alike; count each change by kind.

    Examples:

        pp data clean raw.jsonl --to data.jsonl

        pp data clean raw.jsonl --to data.jsonl --mask
    """
    from pp_assets.data.clean import clean_file

    with watching("clean"):
        done = clean_file(file, to, mask=mask)
    if not Output(as_json).result(vars(done) | {"to": str(to)}):
        line(f"{done.changed} of {done.rows} rows changed, written to {to}{_apart(done.rejected, done.quarantine)}")
        line("changes: " + (", ".join(f"{n} {kind}" for kind, n in sorted(done.changes.items())) or "none"))
        if done.sample:
            table(("line", "what", "before", "after"), [tuple(one.values()) for one in done.sample])


def balance(
    file: File,
    to: To,
    by: Annotated[list[str], typer.Option("--by", help="A field of output_json, dotted; several make cells.")],
    cap: Annotated[
        int | None, typer.Option("--cap", help="At most so many rows a cell; without it rows are weighed in meta.weight.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another choice of rows.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Even out how often each label comes: keep at most some rows of each, or give each row a weight.

    Example:

        pp data balance data.jsonl --by category --cap 50 --to balanced.jsonl
    """
    from pp_assets.data.balance import balance as balanced

    found = balanced(file, to, by, cap=cap, seed=seed)
    if not Output(as_json).result(found | {"to": str(to)}):
        line(f"{found['kept']} of {found['rows']} rows in {found['cells']} cells{' weighed' if found['weighted'] else ''}, written to {to}")
        table(
            ("cell", "before", "after"),
            [(r["cell"], str(r["before"]), str(r["after"])) for r in found["table"][:20]],
            right=("before", "after"),
        )


def validate(
    file: File, task: Annotated[str, typer.Option("--task", help="The task whose schema and limits hold.")], as_json: JsonFlag = False
) -> None:
    """Check each line of a file against a task, before it becomes its data. Exit code 1 when a line is not sound.

    Example:

        pp data validate data.jsonl --task support-triage
    """
    from pp_assets.data.balance import validate as validated
    from pp_assets.task.spec import load_task

    settings, name = settle(task)
    found = validated(load_task(name, settings.tasks), file)
    if not Output(as_json).result(found):
        line(f"{file}: {found['sound']} sound lines, {found['rejected']} not")
        for one in found["first"]:
            line(f"{file}:{one['line']}: {one['reason']}")
    if found["rejected"]:
        raise typer.Exit(NOT_SOUND)


def _apart(rejected: Mapping[str, int], file: str) -> str:
    counts: list[Any] = [f"{n} {code}" for code, n in sorted(rejected.items())]
    return f"; {sum(rejected.values())} put apart in {file} ({', '.join(counts)})" if counts else ""

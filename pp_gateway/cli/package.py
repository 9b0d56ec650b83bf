"""`pp package` and `pp predict`: build, verify and list packages, and ask one."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from pp_gateway.cli.output import JsonFlag, Output, line, table
from pp_gateway.cli.results import result_of
from pp_gateway.cli.stages import running
from pp_gateway.cli.tasks import TaskArgument, VariantOption, check_variants, settle
from pp_resources.errors import UserError
from pp_resources.settings import Settings

NOT_WHOLE = 1

app = typer.Typer(help="Build, verify and list packages.", no_args_is_help=True)
PackageArgument = Annotated[str, typer.Argument(metavar="PACKAGE", help="Folder of a package, or task/variant for the current one.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads to compute with.")]


@app.command()
def build(task: TaskArgument, variant: VariantOption, as_json: JsonFlag = False) -> None:
    """Package the adapter that is there; it is evaluated first where that was not done.

    Example:

        pp package build support-triage --variant encoder-lora
    """
    check_variants([variant])
    out = Output(as_json)
    settings, name = settle(task)
    with running(settings) as (runner, log):
        runner.evaluate(name, variant)
        found = result_of(runner.pipeline, name, variant)
    if not out.result({**found, **log.as_dict()}):
        line(f"{name}/{variant}: {found['verdict']}: {found['reasons'][0]}")
        line(f"package  {found['package']}")
        line(log.said())


@app.command()
def verify(
    package: PackageArgument,
    replay: Annotated[bool, typer.Option("--replay/--no-replay", help="Ask the model the golden prompts again.")] = True,
    threads: Threads = None,
    as_json: JsonFlag = False,
) -> None:
    """Check every hash of a package, recompute its metrics and verdict from the stored answers, ask the golden prompts again.

    Exit code 1 when something is not as the package says.

    Example:

        pp package verify support-triage/encoder-lora
    """
    from pp_assets.packaging.verify import verify_package

    out = Output(as_json)
    folder = find_package(package)
    found = verify_package(folder, replay=replay, threads=threads)
    if not out.result({"package": str(folder), **found.as_dict()}):
        for made in found.checks:
            word = "skipped" if made.skipped else "ok" if made.ok else "WRONG"
            line(f"{word:<8} {made.name:<10} {made.detail}")
        line(f"{folder}: {'is what it says' if found.ok else 'is NOT what it says'}")
    if not found.ok:
        raise typer.Exit(NOT_WHOLE)


@app.command("list")
def list_(as_json: JsonFlag = False) -> None:
    """List the current package of every task and variant.

    Example: pp package list --json
    """
    from pp_assets.pipeline import PACKAGES
    from pp_resources.artifacts import ArtifactStore

    out = Output(as_json)
    store = ArtifactStore(Settings.from_env().home)
    rows: list[dict[str, Any]] = []
    for key in store.keys(PACKAGES):
        if found := store.current(PACKAGES, key):
            facts = {"verdict": found.metadata.get("verdict"), "created_at": found.created_at, "digest": found.digest}
            rows.append({"package": key, **facts, "path": str(found.path)})
    if out.result(rows):
        return
    if not rows:
        line("no packages yet; make one with: pp run TASK")
        return
    table(("package", "verdict", "made", "path"), [(r["package"], r["verdict"], r["created_at"][:16], r["path"]) for r in rows])


def predict(
    package: PackageArgument,
    file: Annotated[str, typer.Argument(metavar="[FILE|-]", help="Text, one input a line; - is standard input.")] = "-",
    batch_size: Annotated[int | None, typer.Option(min=1, help="Lines to answer at once. Default: 32, 1 on a terminal.")] = None,
    distributions: Annotated[
        bool, typer.Option("--distributions", help="Add to each record the probability of every listed value.")
    ] = False,
    threads: Threads = None,
    as_json: JsonFlag = False,  # noqa: ARG001
) -> None:
    """Answer lines of text, one JSON record a line (with or without --json).

    A record has the output, whether it is valid, its confidence, and in "fields" that of each field.

    --distributions adds "choices": for each field with an enum or a boolean all values with their probability, the likeliest first.

    An encoder also has them for other fields that it chooses from a list; of an array of enums, each is the probability of being in it.

    A line that cannot be answered gets a record with its error; the others are answered all the same.

    Examples:

        echo "Where is my parcel?" | pp predict support-triage/encoder-lora

        pp predict path/to/package messages.txt > answers.jsonl

        pp predict support-triage/encoder-lora messages.txt --distributions | jq -c '.choices.team[:3]'
    """
    from pp_assets.packaging.predict import BATCH, predict_package, record_text

    out = Output(False)
    folder = find_package(package)
    with input_lines(file) as lines:
        size = batch_size or (1 if lines.isatty() else BATCH)
        total = wrong = 0
        for record in predict_package(folder, lines, threads=threads, batch_size=size, distributions=distributions):
            total, wrong = total + 1, wrong + (not record["valid"])
            sys.stdout.write(record_text(record) + "\n")
            if lines.isatty():
                sys.stdout.flush()
    sys.stdout.flush()
    out.say(f"{total} lines, {wrong} without a valid answer")


def find_package(named: str) -> Path:
    """A folder, or the current package of task/variant. Raises UserError with the nearest name."""
    from pp_assets.pipeline import PACKAGES
    from pp_resources.artifacts import ArtifactStore
    from pp_resources.errors import nearest

    folder = Path(named).expanduser()
    if folder.is_dir():
        return folder.resolve()
    store = ArtifactStore(Settings.from_env().home)
    known = store.keys(PACKAGES)
    found = store.current(PACKAGES, named) if named in known else None
    if found is None:
        how = nearest(named, known) if known else "make one with 'pp run TASK'"
        raise UserError(f"no package {named!r}: neither a folder nor a task/variant that was packaged", where="PACKAGE", how=how)
    return found.path


@contextmanager
def input_lines(file: str) -> Iterator[TextIO]:
    """Lines end at \\n only; bytes that are not UTF-8 come through as such, so that the record can say so."""
    if file == "-":
        sys.stdin.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")  # type: ignore[union-attr]
        yield sys.stdin
        return
    if not Path(file).is_file():
        raise UserError("no such file", where=file, how="give a text file, or - for standard input")
    with Path(file).open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        yield lines

"""`pp prompt`: search a prompt for a task, say honestly what that gained, and take the words away or serve them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pp_gateway.cli import prompt_studies
from pp_gateway.cli.output import JsonFlag, Output, line, number, signed, table
from pp_gateway.cli.tasks import TaskArgument, settle
from pp_resources.errors import UserError
from pp_resources.settings import Settings

if TYPE_CHECKING:
    from pp_assets.task.spec import Task
    from pp_resources.artifacts import Artifact

app = typer.Typer(help="Search prompts: within a budget, and released by a paired test alone.", no_args_is_help=True)
prompt_studies.add_commands(app)
Target = Annotated[str, typer.Option("--target", help="What the prompt is for: base (the task's language model), or a model by its name.")]


@app.command()
def optimise(
    task: TaskArgument,
    target: Target = "base",
    writer: Annotated[str | None, typer.Option(help="A model that writes proposals. Default: none, which needs no strong model.")] = None,
    strategy: Annotated[str, typer.Option(help="How to search: halving, mipro, gepa.")] = "halving",
    calls: Annotated[
        int | None, typer.Option(min=1, help="Model calls of the search, at most. The test asks each test row at most twice.")
    ] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Tokens, read and written, at most; the test's with them.")] = None,
    budget_usd: Annotated[
        float | None, typer.Option(min=0.0, help="US dollars, at most; the test's with them. A model of this machine costs none: --calls.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Default: the task's.")] = None,
    until: Annotated[str | None, typer.Option(help="Stop when the best reaches this on validation rows: METRIC>=NUMBER.")] = None,
    max_tokens: Annotated[float | None, typer.Option(min=0, help="Release nothing that takes more tokens an answer.")] = None,
    max_latency_ms: Annotated[float | None, typer.Option(min=0, help="Release nothing that takes longer an answer.")] = None,
    max_invalid: Annotated[float | None, typer.Option(min=0, max=1, help="Release nothing with a larger share of invalid answers.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Search a prompt on training and validation rows. Only the one that was chosen is tested, on test rows, against the task's own.

    A search that was stopped goes on, and asks nothing twice. RELEASE says that it is better; NOT PROVEN how many test rows would tell.

    Examples:

        pp prompt optimise support-triage --calls 400

        pp prompt optimise support-triage --until "object_exact_match>=0.9" --max-invalid 0.01
    """
    from pp_assets.prompts.optimising import Wanted, check_wanted
    from pp_assets.prompts.search.gate import Limits
    from pp_assets.prompts.search.tree import Tree
    from pp_gateway.cli.prompt_events import event_line
    from pp_gateway.cli.stages import running

    out = Output(as_json)
    settings, name = settle(task)
    limits = Limits(max_tokens, max_latency_ms, max_invalid)
    wanted = Wanted(target, writer, strategy, calls, tokens, budget_usd, seed, until, limits)
    with running(settings) as (runner, log):
        check_wanted(runner.pipeline, name, wanted)
        runner.training_data(name)
        log.terminal.now(f"prompt {name}")
        known = Tree()

        def hear(event: Mapping[str, Any]) -> None:
            known.hear(event)
            if said := event_line(event, known.nodes):
                log.terminal.say(said)

        found = runner.pipeline.prompt(name, wanted, hear)
    told = dict(found.metadata)
    if not out.result({**told, "path": str(found.path), "reused": found.reused}):
        _tell(told)
        line(f"search   {found.path}" + (" (done before: nothing was asked)" if found.reused else ""))


@app.command()
def show(task: TaskArgument, target: Target = "base", as_json: JsonFlag = False) -> None:
    """Show what the newest search found: the verdict, and the prompt as a model reads it.

    Example: pp prompt show support-triage
    """
    found, prompt = _found(task, target)
    if Output(as_json).result({**found.metadata, "prompt": prompt, "path": str(found.path)}):
        return
    _tell(found.metadata)
    for message in prompt["messages"]:
        line(f"\n--- {message['role']}")
        line(message["content"])


@app.command("list")
def list_(task: TaskArgument, as_json: JsonFlag = False) -> None:
    """List the searches of a task, the newest last.

    Example: pp prompt list support-triage
    """
    from pp_assets.pipeline import PROMPTS, Pipeline

    settings, name = settle(task)
    store = Pipeline(settings).store
    found = [one for key in store.keys(PROMPTS) if key.partition("/")[0] == name for one in store.versions(PROMPTS, key)]
    found.sort(key=lambda one: one.created_at)
    if Output(as_json).result([{**one.metadata, "at": one.created_at, "path": str(one.path)} for one in found]):
        return
    if not found:
        line(f"no prompt of {name} was searched yet: pp prompt optimise {name}")
        return
    head = ("at", "target", "strategy", "verdict", "test gain", "best", "calls")
    rows = [
        (
            one.created_at[:19],
            m["target"],
            m["strategy"],
            m["verdict"],
            signed(m["test_effect"]),
            m["best"],
            f"{m['calls']}+{m['test_calls']}",
        )
        for one in found
        for m in (one.metadata,)
    ]
    table(head, rows, right=("test gain", "calls"), whole=head)


@app.command()
def tree(task: TaskArgument, target: Target = "base", as_json: JsonFlag = False) -> None:
    """Show all candidates of the newest search, each below the one that it was made from.

    Example: pp prompt tree support-triage
    """
    from pp_assets.pipeline import read_json
    from pp_assets.prompts.search.tree import tree_lines

    found, _ = _found(task, target)
    nodes = read_json(found.file("tree.json"))
    if not Output(as_json).result(nodes):
        for one in tree_lines(nodes):
            line(one)


@app.command()
def export(
    task: TaskArgument,
    file: Annotated[Path, typer.Option("--out", "-o", help="The file to write (JSON).")],
    target: Target = "base",
    as_json: JsonFlag = False,
) -> None:
    """Write the prompt that the newest search found to a file, and check that it reads as what was scored.

    Example: pp prompt export support-triage --out prompt.json
    """
    from pp_assets.prompts.search.export import check, write_prompt
    from pp_resources.artifacts import check_place

    check_place(file)
    found, prompt = _found(task, target)
    write_prompt(file, prompt)
    again = check(_task(task).spec, file, prompt["digest"])
    if not Output(as_json).result({"file": str(file), "digest": again["digest"], "verdict": again["verdict"]}):
        line(f"{file}: {again['digest'][:12]}, word for word what was scored ({found.metadata['verdict']})")


@app.command()
def verify(
    task: TaskArgument,
    file: Annotated[Path | None, typer.Option("--file", help="An exported prompt. Default: that of the newest search.")] = None,
    target: Target = "base",
    as_json: JsonFlag = False,
) -> None:
    """Check that a prompt reads, byte for byte, as it did when it was scored.

    Example: pp prompt verify support-triage --file prompt.json
    """
    from pp_assets.prompts.search.export import check, read_prompt

    found, scored = _found(task, target)
    place = file or found.file("prompt.json")
    known = scored["digest"] if file is None or read_prompt(file).get("candidate") == scored["candidate"] else None
    prompt = check(_task(task).spec, place, known)
    told = {"file": str(place), "digest": prompt["digest"], "scored": known is not None}
    if not Output(as_json).result(told):
        line(
            f"{place}: reads as it says ({prompt['digest'][:12]})"
            + (", which is what was scored" if known else "; another search scored it")
        )


@app.command()
def apply(
    task: TaskArgument,
    target: Target = "base",
    name: Annotated[str, typer.Option("--name", help="Name of the variant in the task's serving section.")] = "searched",
    file: Annotated[
        Path | None, typer.Option("--file", help="An exported prompt, or the prompt.json of a study's report. Default: the newest search.")
    ] = None,
    of: Annotated[
        str | None,
        typer.Option("--of", help="The remote variant whose model is asked. Default: what the table of providers says of the target."),
    ] = None,
    anyway: Annotated[bool, typer.Option("--anyway", help="Although the test did not release it.")] = False,
    own: Annotated[
        bool, typer.Option("--own", help="As the task's own prompt, not as a variant; language models train behind it from now on.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Write over a variant of this name, or with --own over the task's own prompt.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write the prompt that was found into the task's file, as a variant to serve; everything else in it stays as it is.

    With --own it takes the place of the task's prompt. Without --yes that only shows what would change.

    Examples:

        pp prompt apply support-triage --name searched

        pp prompt apply support-triage --own --yes
    """
    from pp_assets.prompts.applying import applied
    from pp_assets.prompts.search.export import check

    loaded = _task(task)
    prompt = {"asked": target, "verdict": "NOT TESTED", **(check(loaded.spec, file) if file else _found(task, target)[1])}
    if prompt["verdict"] != "RELEASE" and not anyway:
        where = str(file or f"prompt {prompt['candidate']}")
        raise UserError(f"the test did not release it ({prompt['verdict']})", where=where, how="search on, or add --anyway")
    if own:
        _apply_own(loaded, prompt, yes=yes, out=Output(as_json))
        return
    made, notes = applied(loaded, prompt, name, of=of, overwrite=yes, settings=Settings.from_env())
    if not Output(as_json).result({"task": loaded.name, "name": name, "variant": made, "file": str(loaded.file), "notes": notes}):
        line(f"{loaded.file}: serving.variants.{name} ({made['kind']})")
        for note in notes:
            line(f"  {note}")


def _apply_own(task: "Task", prompt: Mapping[str, Any], *, yes: bool, out: Output) -> None:
    from difflib import unified_diff

    from pp_assets.prompts.applying import applied_own, own_written
    from pp_assets.task.prompt import prompt_words

    before, after = task.file.read_text("utf-8"), own_written(task, prompt)
    changes = list(unified_diff(before.splitlines(), after.splitlines(), str(task.file), str(task.file), lineterm=""))
    if changes and not yes:
        for one in changes if not out.as_json else ():
            line(one)
        raise UserError("would write over the task's own prompt", where=str(task.file), how="add --yes")
    was = prompt_words(task.spec)["digest"]
    applied_own(task, prompt)
    told = {"task": task.name, "own": True, "was": was, "prompt": prompt_words(_task(task.name).spec)["digest"]}
    stale = "language models were trained behind the prompt of before: pp run trains and tests them anew"
    notes = [stale if changes else "nothing to change"]
    if not out.result({**told, "file": str(task.file), "changes": changes, "notes": notes}):
        for one in [*changes, f"{task.file}: system_prompt, instruction_template", *(f"  {note}" for note in notes)]:
            line(one)


def _found(task: str, target: str) -> "tuple[Artifact, dict[str, Any]]":
    from pp_assets.pipeline import PROMPTS, Pipeline
    from pp_assets.prompts.optimising import slug
    from pp_assets.prompts.search.export import read_prompt

    settings, name = settle(task)
    store = Pipeline(settings).store
    how = f"search one: pp prompt optimise {name}" + ("" if target == "base" else f" --target {target}")
    there = [store.current(PROMPTS, key) for key in store.keys(PROMPTS) if key.partition("/")[0] == name]
    if others := ", ".join(sorted({f"--target {one.metadata['asked']}" for one in there if one})):
        how += f", or add what was searched: {others}"
    found = store.require(PROMPTS, f"{name}/{slug(target)}", how)
    return found, {"verdict": found.metadata["verdict"], **read_prompt(found.file("prompt.json"))}


def _task(task: str) -> "Task":
    from pp_assets.task.spec import load_task

    settings, name = settle(task)
    return load_task(name, settings.tasks)


def _tell(told: Mapping[str, Any]) -> None:
    line(f"{told['task']} on {told['target']}: {told['verdict']}")
    for reason in told["reasons"]:
        line(f"  {reason}")
    line(
        f"  chosen by {told['val_rows']} rows: {number(told['val_start'])} → {number(told['val_best'])} ({told['best']}, {told['source']})"
    )
    cost = "not priced" if told["cost_usd"] is None else f"{told['cost_usd']:.4g} US dollars"
    line(f"  {told['calls']} calls and {told['tokens']:,} tokens to search ({cost}), {told['test_calls']} calls to test")

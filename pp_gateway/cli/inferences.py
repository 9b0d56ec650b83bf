"""`pp inferences`: what the gateway answered and what was said of it. Read from the store as it is there: what was masked stays masked."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, line, number, table
from pp_gateway.cli.tasks import settle, store_here
from pp_resources.errors import UserError

if TYPE_CHECKING:
    from pp_resources.store.opened import Store
    from pp_resources.store.read_feedback import Said
    from pp_resources.store.rows import Inference

app = typer.Typer(help="Answers that the gateway gave: list them, see one whole with its feedback.", no_args_is_help=True)
# Rows may be those of a remote model that is no task's, or of a task whose folder is gone.
Name = Annotated[str, typer.Argument(metavar="TASK", help="Name of a task or remote model that answered, or the path of a task's folder.")]
Time = Annotated[str | None, typer.Option(metavar="TIME", help="ISO 8601, UTC without a zone. From --since until before --until.")]
SHOWN = 60  # characters of a text in a table
CURSOR = re.compile(r"(\d{1,18}):(.+)", re.ASCII | re.DOTALL)  # the time and the id of the last row of a page


@app.command("list")
def list_(
    task: Name,
    variant: Annotated[str | None, typer.Option("--variant", "-v", help="Only of this variant.")] = None,
    bad: Annotated[bool, typer.Option("--bad", help="Only those that failed or broke the schema.")] = False,
    episode: Annotated[str | None, typer.Option(help="Only of this episode.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only of this person.")] = None,
    since: Time = None,
    until: Time = None,
    shadow: Annotated[bool | None, typer.Option("--shadow/--no-shadow", help="Only copies that nobody saw, or none. Default: all.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    before: Annotated[str | None, typer.Option(metavar="CURSOR", help="Only what comes after an earlier page: its `next`.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List answers, the newest first. With --json, `next` is the cursor of the page after, null where there is none.

    Examples:

        pp inferences list support-triage --bad --since 2026-11-01T09:30

        pp inferences list support-triage --no-shadow --limit 1000 --json
    """
    from pp_resources.store.ids import iso
    from pp_resources.store.read_inferences import Page, list_inferences

    out, store = Output(as_json), store_here()
    times, cursor = (_micros(since, "--since"), _micros(until, "--until")), None if before is None else _cursor(before)
    name = _known(store, task, variant)
    filters: dict[str, Any] = {"variant": variant, "episode": episode, "subject": subject, "shadow": shadow, "bad": bad}
    filters |= {"since": times[0], "until": times[1], "before": cursor, "limit": limit}
    page = list_inferences(store, task=name, **filters) if store.exists else Page([], None)
    following = None if page.next is None else f"{page.next[0]}:{page.next[1]}"
    if out.result({"task": name, "items": [_plain(row) for row in page.rows], "next": following}):
        return
    if not page.rows:
        line(f"{name}: no inferences match")
        return
    cells = [
        (row.id, iso(row.at)[:19], _answerer(row), _outcome(row), number(row.confidence), number(row.latency_ms, 0), _cut(row.input))
        for row in page.rows
    ]
    table(("id", "at", "variant", "answer", "confidence", "ms", "input"), cells, right=("confidence", "ms"), whole=("id", "at"))
    if following:
        line(f"older ones: --before {following}")


@app.command()
def show(id: Annotated[str, typer.Argument(metavar="ID", help="Of an inference.")], as_json: JsonFlag = False) -> None:
    """Show one answer whole: what was asked and said, who answered and why that one, what it cost, and all feedback on it or
    its episode.

    Of values on one metric, and of demonstrations, the last one counts, whoever sent it.

    Example: pp inferences show 019e… --json
    """
    from pp_resources.store.read_feedback import feedback_on
    from pp_resources.store.read_inferences import inference

    store = store_here()
    row = inference(store, id) if store.exists else None
    if row is None:
        how = "'pp inferences list TASK' shows them, 'pp store status' what waits in journals"
        raise UserError(f"no inference {id!r}", where="ID", how=how)
    said = [_said(one) for one in feedback_on(store, id, row.episode)]
    if Output(as_json).result({**_plain(row), "feedback": said}):
        return
    for what, words in _told(row):
        line(f"{what:<12}{words}")
    line()
    if not said:
        line("no feedback")
        return
    cells = [(one["at"][:19], one["source"], one["of"], one["metric"] or one["kind"], _value(one), _yes(one["counts"])) for one in said]
    table(("at", "source", "of", "feedback", "", "counts"), cells, whole=("at",))


def _known(store: "Store", task: str, variant: str | None) -> str:
    """The name that rows of a task have. Raises UserError for a task and for a variant that neither is declared nor ever answered."""
    from pp_resources.errors import nearest
    from pp_resources.store.statistics import tasks_of, traffic_of

    name = task if store.exists and task in tasks_of(store) else settle(task)[1]
    answered = {one.variant for one in traffic_of(store, task=name)} if store.exists and variant is not None else set()
    if variant is not None and variant not in answered:
        known = answered | _served(task)
        if variant not in known:
            raise UserError(f"{variant!r} is no variant of {name}", where="--variant", how=nearest(variant, known))
    return name


def _served(task: str) -> set[str]:
    """The variants that a task is served by now; none where there is no such task that can be read."""
    from pp_assets.task.spec import load_task
    from pp_gateway.serve.asking import variants_of
    from pp_resources.artifacts import ArtifactStore

    with suppress(UserError):
        settings, name = settle(task)
        return set(variants_of(ArtifactStore(settings.home), load_task(name, settings.tasks)))
    return set()


def _micros(time: str | None, where: str) -> int | None:
    from pp_assets.feedback.inputs import moment
    from pp_resources.store.ids import micros

    return None if time is None else micros(moment(time, where))


def _cursor(text: str) -> tuple[int, str]:
    found = CURSOR.fullmatch(text)
    if found is None:
        raise UserError(f"{text!r} is no cursor", where="--before", how="give the `next` of an earlier page as it is")
    return int(found[1]), found[2]


def _plain(row: "Inference") -> dict[str, Any]:
    """An answer as JSON values: its time as text, the output parsed where it is JSON (`raw` is the text as it came)."""
    from pp_resources.store.ids import iso

    return asdict(row) | {"at": iso(row.at), "raw": row.output, "output": _parsed(row.output)}


def _said(one: "Said") -> dict[str, Any]:
    """A feedback without what it is about; a demonstration's output as in `_plain`."""
    from pp_resources.store.ids import iso

    kept = {key: getattr(one, key) for key in ("id", "kind", "metric", "value", "comment", "source", "subject", "counts")}
    of = "answer" if one.inference else "episode"
    return kept | {"of": of, "at": iso(one.at), "raw": one.output, "output": _parsed(one.output)}


def _parsed(text: str | None) -> Any:
    import orjson

    try:
        return None if text is None else orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _told(row: "Inference") -> Iterator[tuple[str, str]]:
    """What is known of an answer, by what it is."""
    from pp_resources.store.ids import iso

    decision = row.decision
    yield "id", row.id
    yield "at", iso(row.at)
    yield "task", row.task
    yield "variant", _answerer(row)
    made = (("version", decision.get("version")), ("package", decision.get("package")), ("configuration", row.config))
    yield "answered by", ", ".join(f"{what} {digest}" for what, digest in made if digest) or "–"
    yield "chosen by", _chosen(decision)
    for one in row.chain:
        yield "before it", f"{one['variant']} could not answer: {one['code']}: {one['error']}"
    yield "input", row.input
    yield "output", "–" if row.output is None else row.output
    yield "answer", _outcome(row) if row.error is None else f"error: {row.error}"
    for step in decision.get("reasoning", ()):
        yield "step", step
    yield "confidence", number(row.confidence)
    yield "tokens", f"{_count(row.tokens_in)} in, {_count(row.tokens_out)} out"
    yield "cost", "unpriced" if row.cost is None else f"{row.cost:.6g} US dollars"
    yield "latency", "–" if row.latency_ms is None else f"{row.latency_ms:.1f} ms"
    yield "episode", row.episode or "–"
    yield "subject", row.subject or "–"
    yield "tags", ", ".join(f"{name}: {value}" for name, value in row.tags.items()) or "–"


def _chosen(decision: Mapping[str, Any]) -> str:
    """The weights that chose the variant, and where these come from; none where the variant was named."""
    weights = ", ".join(f"{name} {share:.3f}" for name, share in decision.get("weights", {}).items())
    parts = (decision.get("basis"), f"weights {weights}" if weights else "", f"decision {decision['id']}" if "id" in decision else "")
    return "; ".join(filter(None, parts)) or "–"


def _answerer(row: "Inference") -> str:
    return f"{row.variant} (shadow)" if row.shadow else row.variant


def _outcome(row: "Inference") -> str:
    if row.error is not None:
        return f"error: {_cut(row.error)}"
    return "not checked" if row.valid is None else "valid" if row.valid else "invalid"


def _value(said: Mapping[str, Any]) -> str:
    """What a feedback says."""
    value = "" if said["value"] is None else f"{said['value']:g}"
    return " ".join(filter(None, (value, said["raw"], said["comment"])))


def _yes(so: bool) -> str:
    return "yes" if so else "no"


def _count(tokens: int | None) -> str:
    return "–" if tokens is None else str(tokens)


def _cut(text: str) -> str:
    """The beginning of a text in one line."""
    flat = " ".join(text[: 4 * SHOWN].split())
    return flat if len(flat) <= SHOWN and len(text) <= 4 * SHOWN else f"{flat[: SHOWN - 1]}…"

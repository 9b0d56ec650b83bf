"""`pp data leaks`: which rows to learn from are rows to be judged by, disturbed or not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pp_gateway.cli.data_look import Named
from pp_gateway.cli.output import JsonFlag, Output, line, table
from pp_gateway.cli.stages import watching
from pp_resources.settings import Settings

FOUND = 1
SHOWN = 20
EMBEDDED = 50_000  # rows on both sides; beyond that synonyms are not looked for


def leaks(
    named: Named,
    held_out: Annotated[str | None, typer.Argument(metavar="HELD_OUT", help="Rows to be judged by; default: val and test of DATA.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Rows to learn from that are the same item as a held-out row: other order, typing errors, a greeting, synonyms.

    Exit code 1 when there is one. A number, a name, a negation or a known word on one side alone makes two items.

    Examples:

        pp data leaks support-triage

        pp data leaks train.jsonl test.jsonl
    """
    from pp_assets.data.sources import find_source
    from pp_resources.artifacts import ArtifactStore
    from pp_resources.errors import UserError

    store = ArtifactStore(Settings.from_env().home)
    source = find_source(named, store)
    if held_out is None and source.version is None:
        raise UserError("a file has no held-out rows of its own", where=named, how="name the file of those, too")
    rows = list(source.rows())
    others = list(find_source(held_out, store).rows()) if held_out else [row for row in rows if row.split != "train"]
    texts = [row.input_text for row in rows if held_out or row.split == "train"]
    with watching("leaks"):
        found = _found(texts, [row.input_text for row in others])
    if not Output(as_json).result({"rows": len(texts), "held_out": len(others), "leaks": found}):
        line(f"{source.name}: {len(found)} of {len(texts)} rows are among {len(others)} held-out ones")
        table(
            ("similarity", "row", "held out"),
            [(f"{one['similarity']:.2f}", one["row"][:100], one["held_out"][:100]) for one in found[:SHOWN]],
        )
    if found:
        raise typer.Exit(FOUND)


def _found(texts: Sequence[str], others: Sequence[str]) -> list[dict[str, Any]]:
    from pp_assets.data.leakage import find_leaks

    vectors = embed = None
    if len(texts) + len(others) <= EMBEDDED:
        from pp_resources.models.embedder import Embedder

        embed = Embedder(_encoder()).embed
        vectors = embed(texts), embed(others)
    found = sorted(find_leaks(texts, others, vectors, embed), key=lambda leak: -leak.similarity)
    return [{"similarity": leak.similarity, "row": texts[leak.place], "held_out": others[leak.other]} for leak in found]


def _encoder() -> Path:
    from pp_assets.task.spec import TaskSpec
    from pp_resources.models.bases import find_base

    return find_base(str(TaskSpec.model_fields["encoder_model_id"].default))

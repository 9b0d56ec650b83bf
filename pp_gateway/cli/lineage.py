"""`pp lineage`: what was made for a task, from what, when and why, and what was decided on it; in the terminal and as one page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, console, line, table
from pp_gateway.cli.tasks import TaskArgument, check_variants, settle
from pp_resources.errors import UserError

if TYPE_CHECKING:
    from rich.tree import Tree

    from pp_assets.lineage.graph import Lineage, Node

_SHORT = 8  # characters of a version, which tell it from the others of a task
_LATEST = 8  # events that the terminal shows of each kind; the page has all


def lineage(
    task: TaskArgument,
    variant: Annotated[str | None, typer.Option("--variant", "-v", help="Only this variant, and what belongs to the whole task.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the whole graph to this HTML file, which needs no network.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show where everything of a task comes from: prompts, data, contracts, adapters, evaluations, packages, promotions, decisions.

    Each version stands under what was made from it, with the time and the inputs that differ from the version before. Reads manifests only;
    nothing is computed, no test row is opened.

    Examples:

        pp lineage support-triage

        pp lineage support-triage --variant encoder-lora --out lineage.html

        pp lineage support-triage --json
    """
    from pp_assets.lineage.events import events
    from pp_assets.lineage.graph import lineage as graph_of
    from pp_assets.lineage.page import write_page
    from pp_assets.pipeline import Pipeline
    from pp_resources.artifacts import check_place

    check_variants([variant] if variant else [])
    if out is not None:
        check_place(out)
    shown = Output(as_json)
    settings, name = settle(task)
    pipeline = Pipeline(settings)
    found = graph_of(pipeline, name, variant)
    if not any(node.path and node.kind != "prompt" for node in found.nodes):
        raise UserError("nothing was made yet", where=name, how=f"run 'pp run {name}'")
    happened = events(pipeline, found)
    if out is not None:
        write_page(out, found, happened)
    if shown.result({**found.as_dict(), "events": happened, "page": str(out) if out else None}):
        return
    _show_tree(found)
    _show_versions(found)
    _show_events(happened)
    if out is not None:
        line(f"page     {out}")


def _show_tree(found: "Lineage") -> None:
    """What is in force: results at the root, under each what it was made from. What stands twice is told in full where it comes first."""
    from rich.text import Text
    from rich.tree import Tree

    from pp_assets.pipeline import PACKAGES

    by_id = found.by_id()
    used = {source for node in found.nodes if node.current for source in node.sources}
    results = sorted((n for n in found.nodes if n.current and n.id not in used), key=lambda n: (n.kind != PACKAGES, -_size(n, by_id)))
    root = Tree(Text(f"{found.task}{f' / {found.variant}' if found.variant else ''}: in force, each above what it was made from"))
    told: set[str] = set()
    for node in results:
        _branch(root, node, "", by_id, told)
    console().print(root)
    line()


def _branch(tree: "Tree", node: "Node", role: str, by_id: "Mapping[str, Node]", told: set[str]) -> None:
    from rich.text import Text

    name = "" if role in ("", node.kind, node.kind.removesuffix("s")) else f"{role}: "
    label = f"{name}{node.kind} {node.key.partition('/')[2]}".rstrip()
    if node.id in told:
        tree.add(Text(f"{label} {node.version[:_SHORT]} (above)", style="dim"))
        return
    told.add(node.id)
    state = "" if node.current else " (not in force)"
    text = Text(f"{label} {node.version[:_SHORT]} {node.at[:16].replace('T', ' ')}{state}")
    text.append(f"  {node.says}" if node.says else "", style="bold")
    text.append(f"  {node.why}", style="dim")
    below = tree.add(text)
    for source in dict.fromkeys(source.node for source in node.made_from if source.node):
        role = next(one.name for one in node.made_from if one.node == source)
        if source in by_id and by_id[source].kind != node.kind:  # the version before it stands in the table
            _branch(below, by_id[source], role, by_id, told)


def _size(node: "Node", by_id: "Mapping[str, Node]") -> int:
    """How many versions it rests on."""
    seen, waiting = {node.id}, [node.id]
    while waiting:
        fresh = [source for source in by_id[waiting.pop()].sources if source in by_id and source not in seen]
        seen.update(fresh)
        waiting += fresh
    return len(seen)


def _show_versions(found: "Lineage") -> None:
    groups: dict[tuple[str, str], list[Node]] = {}
    for node in found.nodes:
        groups.setdefault((node.kind, node.key.partition("/")[2]), []).append(node)
    rows = []
    for (kind, variant), nodes in sorted(groups.items()):
        newest = nodes[-1]
        rows.append((kind, variant, str(len(nodes)), newest.version[:_SHORT], newest.at[:16].replace("T", " "), newest.says, newest.why))
    table(("kind", "variant", "versions", "newest", "made", "says", "why"), rows, right=("versions",), whole=("kind", "newest", "made"))
    line()


def _show_events(happened: Sequence[Mapping[str, Any]]) -> None:
    by_kind: dict[str, list[Mapping[str, Any]]] = {}
    for event in happened:
        by_kind.setdefault(event["kind"], []).append(event)
    for kind, listed in by_kind.items():
        more = f", the last {_LATEST}" if len(listed) > _LATEST else ""
        line(f"{kind}: {len(listed)}{more}")
        for event in listed[-_LATEST:]:
            of = f" [{event['node'].rpartition('/')[2][:_SHORT]}]" if event["node"] else ""
            line(f"  {event['at'][:16].replace('T', ' ')}  {event['text']}{of}")
    if happened:
        line()

"""The graph as one HTML file that works without a network: choose a version to see what it was made from and what came of it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from pp_assets.lineage.graph import PROMPT, Lineage, Node
from pp_assets.pipeline import DATASETS, EVALUATIONS, PACKAGES

HERE = Path(__file__).parent
SHOWN = 6  # versions of one kind and key in the picture; earlier ones are drawn where one that is drawn was made from them
LONGEST = 600  # characters of one value of the metadata; the manifest has all of it
BOX, GAP, ROW, HEAD = 150, 46, 40, 26  # pixels: width of a version, between columns, height of its row, heading of a group
_EVENT_HEAD = ("when", "what", "why", "of")


def write_page(path: Path, found: Lineage, events: Sequence[Mapping[str, Any]]) -> None:
    """Write the page. Equal input gives equal bytes."""
    title = f"{found.task}{f' / {found.variant}' if found.variant else ''}"
    drawn = _drawn(found)
    data = {"nodes": {node.id: _plain(node) for node in found.nodes}, "events": list(events), "chosen": _first(drawn)}
    # Nothing may load: what runs is in the file.
    policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
    head += f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>Lineage of {escape(title)}</title>'
    parts = [f"{head}<style>{(HERE / 'page.css').read_text('utf-8')}</style></head><body>"]
    left = len(found.nodes) - len(drawn)
    told = f"{len(found.nodes)} versions, {len(events)} events" + (f"; {left} earlier versions are in the lists below" if left else "")
    told += ". Left to right: what was made from what."
    parts.append(f"<header><h1>Lineage of {escape(title)}</h1><p class=soft>{escape(told)}</p></header>")
    parts.append(f'<main><div class="graph">{_graph(drawn)}</div><aside id="details" aria-live="polite"></aside></main>')
    parts += [_list(title, nodes) for title, nodes in _lists(found)]
    parts.append(_events(events, found.by_id()))
    # "</script>" in a text would end the block.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    parts.append(f'<script type="application/json" id="data">{text}</script>\n<script>{(HERE / "page.js").read_text("utf-8")}</script>')
    path.write_text("\n".join([*parts, "</body></html>\n"]), "utf-8", errors="backslashreplace")


def _plain(node: Node) -> dict[str, Any]:
    """What the details show."""
    shown = {name: _cut(value) for name, value in node.metadata.items()}
    from_ = [{"name": s.name, "digest": s.digest, "node": s.node} for s in node.made_from]
    told = {"kind": node.kind, "key": node.key, "version": node.version, "digest": node.digest, "at": node.at, "current": node.current}
    return told | {"why": node.why, "says": node.says, "path": node.path, "from": from_, "metadata": shown}


def _cut(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _drawn(found: Lineage) -> list[Node]:
    """The newest versions of each kind and key, those in force, and what these were made from, by time."""
    by_id, groups = found.by_id(), _groups(found.nodes)
    kept = {node.id for nodes in groups.values() for node in (*nodes[-SHOWN:], *(n for n in nodes if n.current))}
    in_force = [node for node in found.nodes if node.current]
    while in_force:
        for source in in_force.pop().sources:
            if source in by_id and source not in kept:
                kept.add(source)
                in_force.append(by_id[source])
    return [node for node in found.nodes if node.id in kept]


def _first(drawn: Sequence[Node]) -> str | None:
    """What is chosen when the page opens: the newest package in force, else evaluation, else anything."""
    for kind in (PACKAGES, EVALUATIONS, None):
        found = [node.id for node in drawn if node.current and kind in (node.kind, None)]
        if found:
            return found[-1]
    return drawn[-1].id if drawn else None


def _groups(nodes: Iterable[Node]) -> dict[tuple[str, str], list[Node]]:
    groups: dict[tuple[str, str], list[Node]] = {}
    for node in nodes:
        groups.setdefault((node.kind, node.key), []).append(node)
    return groups


def _depths(nodes: Sequence[Node]) -> dict[str, int]:
    """The column of each kind: one to the right of everything that it is made from. A kind that is made from itself, or a circle, is
    broken where it closes."""
    by_id = {node.id: node for node in nodes}
    above: dict[str, set[str]] = {node.kind: set() for node in nodes}
    for node in nodes:
        above[node.kind] |= {by_id[source].kind for source in node.sources if source in by_id} - {node.kind}
    depths: dict[str, int] = {}

    def depth(kind: str, way: tuple[str, ...]) -> int:
        if kind not in depths:
            depths[kind] = max((depth(up, (*way, kind)) + 1 for up in sorted(above[kind]) if up not in (*way, kind)), default=0)
        return depths[kind]

    return {kind: depth(kind, ()) for kind in above}


def _graph(nodes: Sequence[Node]) -> str:
    """The picture: columns of groups, in each the newest version on top, and a line from each version to what was made from it."""
    depths, columns = _depths(nodes), dict[int, list[tuple[tuple[str, str], list[Node]]]]()
    for group, versions in _groups(nodes).items():
        columns.setdefault(depths[group[0]], []).append((group, versions[::-1]))
    places: dict[str, tuple[int, int]] = {}
    boxes, height = [], 0
    for column in sorted(columns):
        x, y = 8 + column * (BOX + GAP), 6
        for (kind, key), versions in sorted(columns[column]):
            of = key.partition("/")[2]
            boxes.append(f'<text class="head" x="{x}" y="{y + 15}">{escape(kind)}{f" · {escape(of)}" if of else ""}</text>')
            y += HEAD
            for node in versions:
                places[node.id] = (x, y)
                boxes.append(_box(node, x, y))
                y += ROW
            y += 8
        height = max(height, y)
    lines = [_line(places[source], places[node.id], source, node.id) for node in nodes for source in node.sources if source in places]
    width = 16 + (max(columns, default=0) + 1) * (BOX + GAP) - GAP
    return f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}">{"".join(lines)}{"".join(boxes)}</svg>'


def _box(node: Node, x: int, y: int) -> str:
    state = " now" if node.current else ""
    told = escape(f"{node.kind} {node.key} {node.version[:8]}: {node.why}")
    says = node.says if len(node.says) <= 22 else f"{node.says[:21]}…"
    name = f'class="node{state}" data-id="{escape(node.id)}" tabindex="0" role="button" aria-label="{told}"'
    label = f'<text x="8" y="14">{escape(node.version[:8])} <tspan class="soft">{escape(node.at[:10])}</tspan></text>'
    label += f'<text x="8" y="28" class="soft">{escape(says)}</text>'
    box = f'<rect width="{BOX}" height="{ROW - 6}" rx="5"/>'
    return f'<g {name} transform="translate({x},{y})"><title>{told}</title>{box}{label}</g>'


def _line(start: tuple[int, int], end: tuple[int, int], source: str, target: str) -> str:
    (x1, y1), (x2, y2) = start, end
    middle = (ROW - 6) // 2
    x1, y1, y2 = x1 + BOX, y1 + middle, y2 + middle
    bend = max(24, (x2 - x1) // 2)
    way = f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
    return f'<path class="edge" data-from="{escape(source)}" data-to="{escape(target)}" d="{way}"/>'


def _lists(found: Lineage) -> list[tuple[str, list[Node]]]:
    """What people ask for by name comes first: prompts, evaluations, data; then every other kind."""
    kinds = list(dict.fromkeys([PROMPT, "prompts", EVALUATIONS, DATASETS, PACKAGES, *sorted({node.kind for node in found.nodes})]))
    listed = [(kind, [node for node in reversed(found.nodes) if node.kind == kind]) for kind in kinds]
    return [(kind, nodes) for kind, nodes in listed if nodes]


def _list(kind: str, nodes: Sequence[Node]) -> str:
    rows = []
    for node in nodes:
        told = "".join(f"<td>{escape(cell)}</td>" for cell in (node.key, "in force" if node.current else "", node.says, node.why))
        rows.append(f"<tr>{_button(node)}<td class=at>{_time(node.at)}</td>{told}</tr>")
    body = "".join(rows)
    table = "<table><thead><tr><th>version</th><th>made</th><th>of</th><th></th><th>says</th><th>why</th></tr></thead>"
    opened = " open" if kind in (PROMPT, EVALUATIONS) else ""
    inside = f'<div class="scroll">{table}<tbody>{body}</tbody></table></div>'
    return f"<details{opened}><summary><b>{escape(kind)}</b> {len(nodes)}</summary>{inside}</details>"


def _time(at: str) -> str:
    return escape(at[:19].replace("T", " "))


def _button(node: Node) -> str:
    return f'<td><button data-id="{escape(node.id)}">{escape(node.version[:8])}</button></td>'


def _events(events: Sequence[Mapping[str, Any]], known: Mapping[str, Node]) -> str:
    if not events:
        return ""
    lines = []
    for event in reversed(events):
        node = known.get(str(event["node"]))
        cells = "".join(f"<td>{escape(str(event[name]))}</td>" for name in ("kind", "text"))
        lines.append(f"<tr><td class=at>{_time(str(event['at']))}</td>{cells}{_button(node) if node else '<td></td>'}</tr>")
    head = "".join(f"<th>{name}</th>" for name in _EVENT_HEAD)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return f'<details open><summary><b>events</b> {len(events)}</summary><div class="scroll">{table}</div></details>'

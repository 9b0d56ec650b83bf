"""What happened to a task beside the making of artifacts: openings of the test split, champions, decisions by machinery and people."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pp_assets.champion import read_champion
from pp_assets.lineage.graph import Lineage
from pp_assets.pipeline import DATASETS
from pp_resources.store.ids import iso
from pp_resources.store.read_work import decisions_on

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

MOST_DECISIONS = 200  # the newest of them


@dataclass(frozen=True)
class Event:
    """Something at a time; `node` is the artifact that it is about, None for none."""

    at: str
    kind: str
    text: str
    node: str | None


def events(p: "Pipeline", found: Lineage) -> list[dict[str, Any]]:
    """Plain values, the oldest first."""
    packages = {node.digest: node.id for node in found.nodes}
    told = [*_openings(p, found), *_champions(p, found, packages), *_decisions(p, found, packages)]
    return [asdict(event) for event in sorted(told, key=lambda event: event.at)]


def _openings(p: "Pipeline", found: Lineage) -> Iterator[Event]:
    if not p.ledger.exists():
        return
    known = found.by_id()
    for line in p.ledger.read_text("utf-8").splitlines():
        try:
            entry = json.loads(line)
            task, at, dataset, reason = (str(entry[name]) for name in ("task", "at", "dataset", "reason"))
        except (ValueError, KeyError, TypeError):
            continue  # a line that a power cut left unfinished
        if task == found.task:
            node = f"{DATASETS}/{task}/{dataset}"
            yield Event(at, "test opening", reason, node if node in known else None)


def _champions(p: "Pipeline", found: Lineage, packages: Mapping[str, str]) -> Iterator[Event]:
    record: Any = read_champion(p.settings.home, found.task)
    one: Any = asdict(record) if record else None
    for digest in record.refused if record else ():
        yield Event(record.since, "taken back", f"package {digest[:8]} is not made champion again by any test", packages.get(digest))
    while one:
        text = f"{one['variant']} {one['package_digest'][:8]} became champion"
        yield Event(one["since"], "champion", text, packages.get(one["package_digest"]))
        one = one.get("previous")


def _decisions(p: "Pipeline", found: Lineage, packages: Mapping[str, str]) -> Iterator[Event]:
    store = p.inbox.store
    if not store.exists:
        return
    for row in decisions_on(store, found.task, limit=MOST_DECISIONS):
        data = row["data"]
        reason = data.get("reason") or ", ".join(f"{k} {v}" for k, v in data.items() if isinstance(v, str | int | float))
        node = next((packages[text] for text in _texts(data) if text in packages), None)
        yield Event(iso(row["at"]), f"decision: {row['kind']}", str(reason), node)


def _texts(value: Any) -> Iterator[str]:
    """Every text in nested values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)

"""The graph of a task: versions of artifacts, what each was made from, why it was made again; prompts, test openings and decisions beside.

It is read from the manifests of the store, whatever kinds there are: an input, or an entry of the metadata's `made_from`, that is the
digest of another artifact is an edge. A prompt is known from metadata (`prompt`: digest, system_prompt, instruction_template) and from the
task that a package holds.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets.pipeline import read_json
from pp_assets.task.prompt import prompt_words
from pp_assets.task.spec import parse_spec
from pp_resources.artifacts import Artifact, ArtifactStore
from pp_resources.errors import UserError

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

PROMPT = "prompt"  # nodes of this kind are words of a task and no artifacts
SPEC = "task_spec.json"
# What says most of an artifact in a line, whatever its kind; the first three that it has.
_TELLING = ("verdict", "outcome", "value", "gain", "reason", "use", "kept", "train", "train_rows", "rows", "best", "topics", "nodes")
_LONGEST = 60


@dataclass(frozen=True)
class Source:
    """Something that an artifact was made from: its `name` there, its digest, and the node that has this digest, None for none."""

    name: str
    digest: str
    node: str | None


@dataclass(frozen=True)
class Node:
    """One version. `why` says what changed against the version before; `current` that it is in force."""

    id: str
    kind: str
    key: str
    version: str
    digest: str
    at: str
    current: bool
    why: str
    made_from: tuple[Source, ...]
    says: str
    metadata: Mapping[str, Any]
    path: str

    @property
    def sources(self) -> list[str]:
        """Ids of the nodes that it was made from."""
        return list(dict.fromkeys(source.node for source in self.made_from if source.node))


@dataclass(frozen=True)
class Lineage:
    """Nodes by time, the oldest first, and events as `pp_assets.lineage.events` finds them."""

    task: str
    variant: str | None
    nodes: tuple[Node, ...]

    def by_id(self) -> dict[str, Node]:
        return {node.id: node for node in self.nodes}

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"task": self.task, "variant": self.variant, "nodes": [asdict(node) for node in self.nodes]}


def lineage(p: "Pipeline", name: str, variant: str | None = None) -> Lineage:
    """The graph of a task; with `variant` of what belongs to the task as a whole and to that variant. Nothing is computed or opened."""
    artifacts = list(_artifacts(p.store, name, variant))
    current = {(kind, key): p.store.current(kind, key) for kind, key in {(one.kind, one.key) for one in artifacts}}
    in_force = {found.path for found in current.values() if found}
    prompts = {one.path: words for one in artifacts if (words := _prompt_of(one))}
    known = _Known(artifacts)
    nodes = [_node(one, before, one.path in in_force, known, prompts.get(one.path)) for one, before in _with_previous(artifacts)]
    nodes += _prompt_nodes(p, name, [(one.created_at, prompts[one.path]) for one in artifacts if one.path in prompts])
    return Lineage(name, variant, tuple(sorted(nodes, key=lambda node: (node.at, node.id))))


def _artifacts(store: ArtifactStore, name: str, variant: str | None) -> Iterator[Artifact]:
    for kind in store.kinds(name):
        for key in store.keys(kind):
            task, _, rest = key.partition("/")
            if task == name and (not rest or variant is None or rest.partition("/")[0] == variant):
                yield from store.versions(kind, key)


def _with_previous(artifacts: Sequence[Artifact]) -> Iterator[tuple[Artifact, Artifact | None]]:
    """Each with the version before it of its kind and key; `versions` gives them in order."""
    last: dict[tuple[str, str], Artifact] = {}
    for one in artifacts:
        yield one, last.get((one.kind, one.key))
        last[one.kind, one.key] = one


class _Known:
    """Artifacts by content digest. Of several with the same content the newest that was there before."""

    def __init__(self, artifacts: Iterable[Artifact]) -> None:
        self._by_digest: dict[str, list[Artifact]] = {}
        for one in sorted(artifacts, key=lambda a: a.created_at):
            self._by_digest.setdefault(one.digest, []).append(one)

    def node(self, digest: str, at: str) -> str | None:
        found = self._by_digest.get(digest, [])
        earlier = [one for one in found if one.created_at < at]
        return _id((earlier or found)[-1]) if found else None


def _id(one: Artifact) -> str:
    return f"{one.kind}/{one.key}/{one.path.name}"


def _node(one: Artifact, before: Artifact | None, current: bool, known: _Known, prompt: Mapping[str, str] | None) -> Node:
    named = {**one.inputs, **{k: v for k, v in _mapping(one.metadata.get("made_from")).items() if isinstance(v, str)}}
    sources = [Source(name, digest, known.node(digest, one.created_at)) for name, digest in named.items()]
    sources += [Source(PROMPT, prompt["digest"], _prompt_id(prompt["digest"]))] if prompt else []
    edges = ("made_from", PROMPT) if prompt else ("made_from",)
    metadata = {name: value for name, value in one.metadata.items() if name not in edges}
    told: dict[str, Any] = {"kind": one.kind, "key": one.key, "version": one.path.name, "digest": one.digest, "path": str(one.path)}
    told |= {"at": one.created_at, "current": current, "why": _why(one, before), "says": _says(metadata)}
    return Node(id=_id(one), **told, made_from=tuple(sources), metadata=metadata)


def _why(one: Artifact, before: Artifact | None) -> str:
    if before is None:
        return "first version"
    changed = sorted(k for k in {*one.inputs, *before.inputs} if one.inputs.get(k) != before.inputs.get(k))
    return f"changed: {', '.join(changed)}"


def _says(metadata: Mapping[str, Any]) -> str:
    told = [(name, metadata[name]) for name in _TELLING if isinstance(metadata.get(name), str | int | float)]
    texts = [str(value) if isinstance(value, str) else f"{name} {value:g}" for name, value in told[:3]]
    return "; ".join(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..." for text in texts)


def _prompt_of(one: Artifact) -> dict[str, str] | None:
    """The words that an artifact was made with: those that its metadata holds, else those of the task in it."""
    words = _mapping(one.metadata.get(PROMPT))
    if all(isinstance(words.get(name), str) for name in ("digest", "system_prompt", "instruction_template")):
        return dict(words)
    try:
        return prompt_words(parse_spec(read_json(one.file(SPEC)), SPEC)) if one.file(SPEC).is_file() else None
    except (UserError, ValueError, OSError):
        return None  # a package of another release; its manifest is shown all the same


def _prompt_nodes(p: "Pipeline", name: str, used: Sequence[tuple[str, Mapping[str, str]]]) -> list[Node]:
    """A node for each wording, first seen when the first artifact was made with it; the task's own of today is the current one."""
    first: dict[str, tuple[str, Mapping[str, str]]] = {}
    for at, words in sorted(used, key=lambda pair: pair[0]):
        first.setdefault(words["digest"], (at, words))
    file, today = None, None
    try:
        task = p.task(name)
        file, today = task.file, prompt_words(task.spec)
    except UserError:
        pass  # the task's file is gone or broken: what was made of it is still there
    if today:
        first.setdefault(today["digest"], (_changed_at(file), today))
    order = sorted(first.values(), key=lambda pair: pair[0])
    nodes, before = [], None
    for at, words in order:
        node = replace(_prompt_node(name, at, words), why=_other_words(before, words), path=str(file or ""))
        nodes.append(replace(node, current=today is not None and node.digest == today["digest"]))
        before = words
    return nodes


def _prompt_node(name: str, at: str, words: Mapping[str, str]) -> Node:
    told = {part: words[part] for part in ("system_prompt", "instruction_template")}
    says = " ".join(" ".join(told.values()).split())
    says = says if len(says) <= _LONGEST else f"{says[: _LONGEST - 3]}..."
    return Node(_prompt_id(words["digest"]), PROMPT, name, words["digest"][:16], words["digest"], at, False, "", (), says, told, "")


def _other_words(before: Mapping[str, str] | None, words: Mapping[str, str]) -> str:
    if before is None:
        return "first version"
    return f"changed: {', '.join(part for part in ('system_prompt', 'instruction_template') if before[part] != words[part])}"


def _prompt_id(digest: str) -> str:
    return f"{PROMPT}/{digest[:16]}"


def _changed_at(file: Path | None) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="microseconds") if file else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

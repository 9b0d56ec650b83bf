"""Growth: what is to be added, taken out and put back, from what is there and what the evidence says today. Reads and writes nothing."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pp_assets.prompts.dicl.candidates import Candidate, Evidence, Origin, merged
from pp_resources.fingerprint import digest
from pp_resources.store.examples import Stored
from pp_resources.store.work import Example, ExampleChange

WHO = "growth"
GONE = "its training row or feedback is no longer in force"
OTHER_ENCODER = "made by another encoder"


@dataclass(frozen=True)
class Changed:
    """What a person decided and growth must leave: keys of the examples that people put back (`forced`) and took out (`blocked`)."""

    forced: frozenset[str]
    blocked: frozenset[str]


@dataclass(frozen=True)
class Plan:
    """`added`: examples that were not there, each with its first change (active, or removed with the reason); `changed`: those that were.
    `reasons` counts the candidates by why they are no examples, `by_origin` those that are by where they came from."""

    added: list[tuple[Example, ExampleChange]]
    changed: list[ExampleChange]
    active: int
    candidates: int
    by_origin: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not self.added and not self.changed


def key_of(one: Stored) -> str:
    return Candidate(one.input, one.output, "row", ()).key


def by_people(known: Iterable[Stored]) -> Changed:
    """Examples whose last change is a person's (a roll-back is one), the latest where an example was made by several encoders."""
    decided = sorted((one for one in known if one.who not in ("", WHO)), key=lambda one: one.changed)
    theirs = {key_of(one): one.state for one in decided}
    return Changed(
        frozenset(key for key, state in theirs.items() if state == "active"),
        frozenset(key for key, state in theirs.items() if state == "removed"),
    )


def all_candidates(known: Sequence[Stored], rows: Sequence[Candidate], evidence: Evidence) -> list[Candidate]:
    """Today's evidence, and examples that stand without it: those whose feedback was deleted with its time (not corrected), and those that
    a person decided on."""
    found = merged([*rows, *evidence.candidates])
    keys = {one.key for one in found}
    people = by_people(known)
    for one in known:
        key = key_of(one)
        stands = one.origin != "row" and one.state == "active" and not evidence.there & set(one.parents)
        if key not in keys and (stands or key in people.forced | people.blocked):
            keys.add(key)
            found.append(as_candidate(one))
    return sorted(found, key=lambda one: one.key)


def as_candidate(one: Stored) -> Candidate:
    origin: Origin = one.origin if one.origin in ("row", "feedback", "demonstration") else "row"  # type: ignore[assignment]
    return Candidate(one.input, one.output, origin, one.parents, 0 if origin == "row" else one.at, one.subject)


@dataclass(frozen=True)
class Making:
    """How rows of the store are made: for which task, by which encoder, when (microseconds, before the evidence was read, so that what was
    erased meanwhile does not come back), and by key the vector bytes, label and contract score."""

    task: str
    encoder: str
    at: int
    vectors: Mapping[str, bytes]
    labels: Mapping[str, str]
    scores: Mapping[str, float | None]

    def example(self, one: Candidate) -> Example:
        return Example(
            id=self.id_of(one.key),
            at=self.at,
            task=self.task,
            input=one.input_text,
            output=one.output_text,
            embedding=self.vectors[one.key],
            encoder=self.encoder,
            label=self.labels[one.key],
            origin=one.origin,
            parents=list(one.parents),
            score=self.scores.get(one.key),
            subject=one.subject,
        )

    def id_of(self, key: str) -> str:
        """The same example has the same id whoever grows it: two at once write it once."""
        return digest([self.task, key, self.encoder], ordered=True)[:32]

    def change(self, example: str, reason: str) -> ExampleChange:
        state = "removed" if reason else "active"
        return ExampleChange(example=example, state=state, reason=reason or "passed the gate", who=WHO, at=self.at)  # type: ignore[arg-type]


def plan(
    known: Sequence[Stored], candidates: Sequence[Candidate], reasons: Mapping[str, str], making: Making, sticky: Collection[str]
) -> Plan:
    """From verdicts (by key, "" for an example) to changes. An example that is not wanted any more is taken out with the reason; a reason
    in `sticky` is written also where the example is out already."""
    there = {one.id: one for one in known}
    added, changed, origins = list[tuple[Example, ExampleChange]](), list[ExampleChange](), Counter[str]()
    wanted = set[str]()
    for one in candidates:
        id, reason = making.id_of(one.key), reasons[one.key]
        wanted.add(id)
        if not reason:
            origins[one.origin] += 1
        if id not in there:
            added.append((making.example(one), making.change(id, reason)))
        elif (there[id].state == "active") == bool(reason) or (reason in sticky and there[id].reason != reason):
            changed.append(making.change(id, reason))
    for id, old in there.items():
        if id not in wanted and old.state == "active":
            changed.append(making.change(id, OTHER_ENCODER if old.encoder != making.encoder else GONE))
    counts = Counter(_kind(reason) for reason in reasons.values() if reason)
    return Plan(added, changed, origins.total(), len(candidates), dict(sorted(origins.items())), dict(counts.most_common()))


def _kind(reason: str) -> str:
    """A reason without what is particular to the row."""
    if reason.startswith("its neighbours say "):
        return "its neighbours say otherwise"
    words = reason.partition(",")[0].partition(" (")[0].split()
    return " ".join(words[:-1]) if words[-2:-1] == ["of"] and len(words[-1]) == 8 else " ".join(words)

"""Template operators: changes that need no model, each a function from a wording to another one."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pp_assets.evaluation.stats.groups import generator
from pp_assets.prompts.candidate import Candidate, Ground, Judged, Origin
from pp_assets.prompts.guards import unnamed
from pp_assets.prompts.propose.template import added, ended, literal, parts, sentences, with_sentences
from pp_assets.prompts.wording import Wording
from pp_assets.task.prompt import labels
from pp_resources.json_schema import Field, leaf_fields

REPEATED = 0.8  # share of a sentence's longer words that others have too, from which it says nothing new
Operator = Callable[[Ground, Wording], Wording]
"""The same wording where it has nothing to change."""


def role(ground: Ground, wording: Wording) -> Wording:
    """Says who the model is, from the description of the task."""
    said = f"You are an expert in this task: {ground.spec.description.strip().rstrip('.')}. You work with care."
    if not ground.spec.description.strip() or said in wording.system:
        return wording
    return replace(wording, system=f"{said} {wording.system}".strip())


def constraints(ground: Ground, wording: Wording) -> Wording:
    """Rules that follow from the schema and the contract: what is copied, what is null or empty, what is chosen from a list."""
    return _listed(ground, wording, "Rules:", [line for leaf in leaf_fields(ground.spec.output_schema) for line in _rules(ground, leaf)])


def rubric(ground: Ground, wording: Wording) -> Wording:
    """What the rubric says of each field, in the prompt."""
    told = ground.spec.rubric
    lines = [f"{path}: {' '.join(rule.description.split())}" for path, rule in told.fields.items() if rule.description.strip()]
    return _listed(ground, wording, "What each field means:", [*([" ".join(told.text.split())] if told.text.strip() else []), *lines])


def contract(ground: Ground, wording: Wording) -> Wording:
    """What the contract asks of a good answer, beyond its form and the rubric."""
    rules = [rule.description for rule in ground.spec.rubric.fields.values() if rule.description]
    nodes = [node for _, node in ground.contract.nodes() if node.kind == "judge"] if ground.contract else []
    asked = [node.description for node in nodes if node.description.strip() and not any(rule in node.description for rule in rules)]
    return _listed(ground, wording, "A good answer:", [" ".join(one.split()) for one in asked])


def schema(ground: Ground, wording: Wording) -> Wording:
    """The JSON Schema itself, where the template does not show it."""
    if re.search(r"\{\{-?\s*schema\b", wording.template):
        return wording
    return added(ground.spec, wording, "The answer is one JSON object that follows this schema: {{ schema }}")


def listed_labels(ground: Ground, wording: Wording) -> Wording:
    """A line for each field with listed values, as JSON lists: what belongs together stands together."""
    lines = [f"{path} is one of {json.dumps(values, ensure_ascii=False)}" for path, values in labels(ground.spec).items()]
    return _listed(ground, wording, "Values:", lines)


def reminder(ground: Ground, wording: Wording) -> Wording:
    """What the answer is, said again after the input: the last words weigh most in small models."""
    keys = ", ".join(dict.fromkeys(leaf.path.split(".")[0] for leaf in leaf_fields(wording.schema(ground.spec))))
    return _once(ground, wording, f"Answer with one JSON object with the keys {keys}, and nothing else.", ended)


def shorter(ground: Ground, wording: Wording) -> Wording:
    """Without sentences that repeat what others say, and without white space that says nothing. No name of a field or label goes."""
    spec = ground.spec
    made = with_sentences(spec, wording, [one if "{" in one else _tight(one) for one in sentences(parts(wording.template)[0])])
    made = replace(made, system=" ".join(made.system.split()))
    place = len(sentences(parts(made.template)[0])) - 1
    while place >= 0:
        said = sentences(parts(made.template)[0])
        if "{" not in said[place] and _repeats(said[place], [*said[:place], *said[place + 1 :], made.system]):
            cut = with_sentences(spec, made, [*said[:place], *said[place + 1 :]])
            made = made if unnamed(spec, cut) != unnamed(spec, made) else cut
        place -= 1
    return made


OPERATORS: Mapping[str, Operator] = {
    "role": role,
    "constraints": constraints,
    "rubric": rubric,
    "contract": contract,
    "schema": schema,
    "labels": listed_labels,
    "reminder": reminder,
    "shorter": shorter,
}
TOGETHER = ("role+constraints", "constraints+rubric", "rubric+reminder")  # one after the other


def applied(ground: Ground, wording: Wording, names: str) -> Wording:
    """A wording after one operator, or after several with "+" between them."""
    for name in names.split("+"):
        wording = OPERATORS[name](ground, wording)
    return wording


@dataclass(frozen=True)
class Operators:
    """The operators in an order of the seed's, on the best parent first; those that change nothing are left out."""

    names: tuple[str, ...] = (*OPERATORS, *TOGETHER)
    source: str = "operator"

    def propose(self, ground: Ground, parents: Sequence[Judged], count: int, seed: int) -> list[Candidate]:
        order = generator(seed, "operators").permutation(len(self.names))
        found: dict[str, Candidate] = {}
        known = {parent.candidate.id for parent in parents}
        for parent in (each.candidate for each in parents):
            for name in (self.names[place] for place in order):
                if len(found) >= count:
                    return list(found.values())
                origin = Origin(f"{self.source}:{name}", (parent.id,), _note(name))
                made = Candidate.of(ground.spec, applied(ground, parent.wording, name), origin)
                if made.id not in known:
                    found.setdefault(made.id, made)
        return list(found.values())


def _rules(ground: Ground, leaf: Field) -> Iterator[str]:
    grounding = {node.field for _, node in ground.contract.nodes() if node.kind == "grounding"} if ground.contract else set()
    several = leaf.kind in ("array_string", "array_enum")
    if leaf.verbatim or leaf.path in grounding:
        yield f"{leaf.path}: {'each item' if several else 'the value'} is copied from the input letter for letter."
    if leaf.kind == "enum":
        yield f"{leaf.path}: exactly one of its listed values, spelt as listed."
    if leaf.kind == "array_enum":
        yield f"{leaf.path}: only listed values, spelt as listed."
    if leaf.kind == "boolean":
        yield f"{leaf.path}: true or false."
    if several:
        yield f"{leaf.path}: an empty list when the input names none."
    elif leaf.nullable and leaf.kind != "null":
        yield f"{leaf.path}: null when the input does not say."


def _listed(ground: Ground, wording: Wording, heading: str, lines: Sequence[str]) -> Wording:
    return _once(ground, wording, "\n".join([heading, *(f"- {line}" for line in lines)]), added) if lines else wording


def _once(ground: Ground, wording: Wording, text: str, put: Callable[..., Wording]) -> Wording:
    source = literal(text)
    return wording if source in wording.template else put(ground.spec, wording, source)


def _tight(sentence: str) -> str:
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+(?=\n)|(?<=[ \t])[ \t]+", "", sentence))


def _repeats(sentence: str, others: Sequence[str]) -> bool:
    words = _long_words(sentence)
    return bool(words) and len(words & _long_words(" ".join(others))) >= REPEATED * len(words)


def _long_words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.casefold()) if len(word) > 3}


def _note(names: str) -> str:
    """The first lines of what the operators say of themselves."""
    return " ".join((OPERATORS[name].__doc__ or "").splitlines()[0] for name in names.split("+"))

"""A first contract from what a task says of itself: its schema, its enums, its rubric, and what its rows show to be copied."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pp_assets.task.contract.rules import grounded
from pp_assets.task.contract.spec import FORMATS, Contract, parse_contract
from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec
from pp_resources.errors import UserError
from pp_resources.json_schema import Field, get_path, leaf_fields
from pp_resources.models.encoder.readings import FORMATS as READ
from pp_resources.models.remote import Provider

LEAST_COPIED, COPIED = (
    20,
    0.98,
)  # values of a field in the rows, and the share of them that stands in the inputs, before it counts as copied
SUGGESTED, TOKENS = 12, 1500  # most questions that are asked of a provider, and tokens that they may take
_QUESTIONS = {
    "type": "object",
    "properties": {
        "questions": {
            "type": "array",
            "maxItems": SUGGESTED,
            "items": {
                "type": "object",
                "properties": {"label": {"type": "string", "maxLength": 60}, "question": {"type": "string", "maxLength": 300}},
                "required": ["label", "question"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["questions"],
    "additionalProperties": False,
}


def derive(spec: TaskSpec, rows: Sequence[Example] = (), provider: Provider | None = None) -> Contract:
    """The contract of a task, the same for the same task and rows.

    Dimensions: *form* (schema, keys that are not in it), *values* (enums, ranges, patterns, lengths, formats), *grounding* (what is copied:
    marked `x-verbatim`, or nearly all values in `rows` stand in their inputs), *correctness* (each field as its rubric compares it;
    scored where a label is known) and *rubric* (a judge's question for each description). `provider` adds *suggested* questions.
    """
    leaves = leaf_fields(spec.output_schema)
    made = {
        "form": ("The answer is JSON of the agreed form", _form()),
        "values": ("Each value is one that its field may have", [node for leaf in leaves for node in _values(leaf)]),
        "grounding": ("What is copied stands in the input", [_grounding(leaf) for leaf in leaves if leaf.verbatim or _copied(leaf, rows)]),
        "correctness": ("Each field is what the label says", [_match(spec, leaf) for leaf in leaves]),
        "rubric": ("A reader with the rules of the task agrees", list(_rubric(spec))),
        "suggested": ("Further questions, suggested by a language model", _suggested(spec, provider) if provider else []),
    }
    dimensions = [{"label": name, "description": said, "sub_dimensions": nodes} for name, (said, nodes) in made.items() if nodes]
    return parse_contract(
        {"name": spec.name, "description": spec.description, "output_schema": spec.output_schema, "dimensions": dimensions},
        f"contract of {spec.name}",
    )


def _form() -> list[dict[str, Any]]:
    return [
        {"label": "schema", "kind": "schema", "hard_gate": 0.5, "description": "The answer follows the output schema"},
        {"label": "known keys", "kind": "forbidden", "description": "The answer has no key that the schema does not name"},
    ]


def _values(leaf: Field) -> Iterator[dict[str, Any]]:
    base: dict[str, Any] = {"field": leaf.path}
    items = leaf.schema.get("items")
    inner = items if leaf.kind == "array_string" and isinstance(items, dict) else leaf.schema
    if leaf.kind in ("enum", "array_enum", "const") and leaf.values:
        values = [*leaf.values, *([None] if leaf.nullable else [])]
        yield {**base, "label": leaf.path, "kind": "enum", "values": values, "description": f"{leaf.path} is one of its listed values"}
    limits = {"minimum": leaf.schema.get("minimum"), "maximum": leaf.schema.get("maximum")}
    if leaf.kind in ("number", "integer") and any(v is not None for v in limits.values()):
        yield {**base, "label": leaf.path, "kind": "range", **limits, "description": f"{leaf.path} lies in its range"}
    low, high = ("minItems", "maxItems") if leaf.schema.get("type") == "array" else ("minLength", "maxLength")
    limits = {"minimum": leaf.schema.get(low), "maximum": leaf.schema.get(high)}
    if any(v is not None for v in limits.values()):
        yield {
            **base,
            "label": f"{leaf.path} length",
            "kind": "length",
            **limits,
            "description": f"{leaf.path} is neither too short nor too long",
        }
    if isinstance(inner.get("pattern"), str):
        yield {**base, "label": f"{leaf.path} pattern", "kind": "regex", "pattern": inner["pattern"], "description": f"{leaf.path} fits"}
    if inner.get("format") in FORMATS:
        kind = {"kind": "format", "format": inner["format"], "description": f"{leaf.path} is a {inner['format']}"}
        yield {**base, "label": f"{leaf.path} format", **kind}


def _grounding(leaf: Field) -> dict[str, Any]:
    return {"label": leaf.path, "kind": "grounding", "field": leaf.path, "description": f"{leaf.path} stands in the input"}


def _copied(leaf: Field, rows: Iterable[Example]) -> bool:
    """Whether the rows show that a field is copied. Short numbers stand in long texts by chance, so that nearly all must."""
    form = leaf.schema.get("format") if leaf.schema.get("format") in READ else None
    if leaf.kind not in ("string", "array_string", "number", "integer"):
        return False
    found = []
    for row in rows:
        value = get_path(row.output, leaf.path)
        scores = (grounded(one, row.input_text, form) for one in (value if isinstance(value, list) else [value]))
        found += [score for score in scores if not isinstance(score, str)]
    return len(found) >= LEAST_COPIED and sum(found) >= COPIED * len(found)


def _match(spec: TaskSpec, leaf: Field) -> dict[str, Any]:
    compare = spec.compare(leaf.path)
    made = {"label": leaf.path, "kind": "match", "field": leaf.path, "description": f"{leaf.path} is that of the label"}
    return made if compare == "exact" else {**made, "compare": compare}


def _rubric(spec: TaskSpec) -> Iterator[dict[str, Any]]:
    for path, rule in spec.rubric.fields.items():
        if rule.description:
            yield {"label": path, "kind": "judge", "description": f"Does {path} follow this rule? {rule.description}"}


def _suggested(spec: TaskSpec, provider: Provider) -> list[dict[str, Any]]:
    """Questions of a provider, at most SUGGESTED; those without words or with a label that was there are left out."""
    system = "You write yes/no questions that tell a good answer to a task from a bad one. Reply with JSON."
    told = {"task": spec.description, "rules": spec.rubric.model_dump(), "output": spec.output_schema, "prompt": spec.instruction_template}
    ask = f"At most {SUGGESTED} questions on the quality of one answer, beyond its schema.\n{json.dumps(told, ensure_ascii=False)}"
    reply = provider.ask([{"role": "system", "content": system}, {"role": "user", "content": ask}], schema=_QUESTIONS, max_tokens=TOKENS)
    try:
        said = json.loads(reply.text)["questions"]
        pairs = [(" ".join(one["label"].replace("/", " ").split()), one["question"].strip()) for one in said]
    except (ValueError, KeyError, TypeError, AttributeError):
        what = "its answer holds no list of questions" + (" (it was cut off)" if reply.finish_reason == "length" else "")
        raise UserError(what, where=provider.url, how="use a model that follows a schema, or unset PP_PROVIDER_URL") from None
    return [{"label": label, "kind": "judge", "description": asked} for label, asked in dict(pairs).items() if label and asked][:SUGGESTED]

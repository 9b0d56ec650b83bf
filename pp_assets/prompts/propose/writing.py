"""How a model is asked to write a prompt, and how strictly its answer is read."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pp_assets.evaluation.outputs import strict_json
from pp_assets.prompts.candidate import Candidate, Ground, Origin
from pp_assets.prompts.guards import unnamed
from pp_assets.prompts.propose.operators import schema
from pp_assets.prompts.propose.template import instruction, literal, rewritten
from pp_assets.prompts.wording import Wording
from pp_assets.task.examples import Example
from pp_resources.json_schema import dump_output, output_validator

LOG = logging.getLogger("pp.prompts")
TEMPERATURE, TOKENS = 1.0, 1500
NOTE, EXCERPT = 300, 600  # characters of a note, and of an input that the writer is shown
FORM = {
    "type": "object",
    "additionalProperties": False,
    "required": ["explanation", "system_prompt", "instruction"],
    "properties": {
        "explanation": {"type": "string", "maxLength": 1000},
        "system_prompt": {"type": "string", "maxLength": 2000},
        "instruction": {"type": "string", "minLength": 1, "maxLength": 8000, "pattern": r"\S"},
    },
}
_SYSTEM = "You write prompts for a language model that answers with JSON. Reply with one JSON object."
_WANTED = (
    "Write the instruction anew, and the system prompt where it should change (empty: it stays). Keep what is right in the present one. "
    "State general rules; do not quote the inputs you were shown. Name every field and every allowed value exactly as it is spelt. "
    "The examples and the input are put behind your instruction: do not write them. Explain in one or two sentences why it is better."
)


@dataclass(frozen=True)
class Request:
    """One prompt to be written: from which candidate, and what the writer is told beside it."""

    parent: Candidate
    told: str


def written(ground: Ground, requests: Sequence[Request], source: str, seed: int) -> list[Candidate]:
    """A candidate for each request, its note what the writer gave as its reason. An answer that is not of the FORM makes none."""
    if ground.model is None or not requests:
        return []
    users = ["\n\n".join([_present(ground, one.parent.wording), one.told, _WANTED]) for one in requests]
    asked = [[{"role": "system", "content": _SYSTEM}, {"role": "user", "content": user}] for user in users]
    found: dict[str, Candidate] = {}
    for one, reply in zip(requests, ground.model.ask_all(asked, schema=FORM, temperature=TEMPERATURE, seed=seed, max_tokens=TOKENS)):
        said = read(reply.text)
        if said is None:
            LOG.warning("%s: an answer of %s holds no prompt (%s)", source, ground.model.name, reply.finish_reason)
            continue
        origin = Origin(source, (one.parent.id,), " ".join(said["explanation"].split())[:NOTE], ground.model.identity)
        made = Candidate.of(ground.spec, _worded(ground, one.parent.wording, said), origin)
        if made.id != one.parent.id:
            found.setdefault(made.id, made)
    return list(found.values())


def read(text: str) -> dict[str, Any] | None:
    """An answer of the FORM, None for anything else."""
    try:
        said = strict_json(text)
    except ValueError:
        return None
    return said if output_validator(FORM).is_valid(said) else None


def excerpt(text: str) -> str:
    return text if len(text) <= EXCERPT else f"{text[:EXCERPT]}…"


def shown(ground: Ground, row: Example) -> str:
    """A training row as a writer reads it."""
    return f"Input: {excerpt(row.input_text)}\nOutput: {dump_output(ground.spec.output_schema, row.output)}"


def _present(ground: Ground, wording: Wording) -> str:
    spec = ground.spec
    rules = [f"- {path}: {rule.description}" for path, rule in spec.rubric.fields.items() if rule.description]
    told = [("Task", spec.description), ("Schema of an answer", json.dumps(spec.output_schema, ensure_ascii=False))]
    told += [("Rules", "\n".join(filter(None, [spec.rubric.text, *rules])))]
    told += [("Present system prompt", wording.system), ("Present instruction", instruction(spec, wording))]
    return "\n\n".join(f"# {heading}\n{text}" for heading, text in told if text)


def _worded(ground: Ground, wording: Wording, said: dict[str, Any]) -> Wording:
    """What was written in the place of the instructions, with the schema behind it where it leaves out names that a model must know."""
    system = said["system_prompt"].strip() or wording.system
    made = rewritten(ground.spec, replace(wording, system=system), literal(said["instruction"].strip()))
    return schema(ground, made) if unnamed(ground.spec, made) else made

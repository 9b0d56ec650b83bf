"""A prompt as a file that says exactly what a model reads, and the check that it still does."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pp_assets.prompts.wording import Shown, Wording
from pp_assets.task.causal_prompt import PROMPT_PROBE
from pp_assets.task.spec import TaskSpec
from pp_resources.errors import UserError

VERSION = 1


def exported(spec: TaskSpec, wording: Wording, **facts: Any) -> dict[str, Any]:
    """Plain values: the wording, `digest`, and the `messages` and `schema` of a probe input. `facts` are kept beside them."""
    return {
        "version": VERSION,
        "task": spec.name,
        "digest": wording.digest(spec),
        "system": wording.system,
        "template": wording.template,
        "reasoned": wording.reasoned,
        "shots": [
            {"input_text": one.input_text, "output": one.output, "reasoning": list(one.reasoning), "item_id": one.item_id}
            for one in wording.shots
        ],
        "probe": PROMPT_PROBE,
        "messages": wording.messages(spec, PROMPT_PROBE),
        "schema": wording.schema(spec),
        **facts,
    }


def write_prompt(file: Path, prompt: Mapping[str, Any]) -> None:
    """As UTF-8 JSON."""
    file.write_text(json.dumps(prompt, indent=1, ensure_ascii=False) + "\n", "utf-8")


def read_prompt(file: Path) -> dict[str, Any]:
    """Raises UserError for a file that is no exported prompt."""
    try:
        prompt = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read ({error})", where=str(file), how="export it again: pp prompt export") from error
    needed = ("version", "digest", "system", "template", "reasoned", "shots", "messages", "schema")
    missing = [name for name in needed if not isinstance(prompt, dict) or name not in prompt]
    if missing:
        raise UserError(f"is no exported prompt: {', '.join(missing)} missing", where=str(file), how="export it again: pp prompt export")
    if prompt["version"] > VERSION:
        raise UserError(f"was written by a newer version ({prompt['version']}; this one reads {VERSION})", where=str(file), how="update")
    return dict(prompt)


def wording_of(prompt: Mapping[str, Any]) -> Wording:
    """The wording of an exported prompt."""
    shots = tuple(
        Shown(one["input_text"], dict(one["output"]), tuple(one.get("reasoning", ())), one.get("item_id", "")) for one in prompt["shots"]
    )
    return Wording(prompt["system"], prompt["template"], shots, bool(prompt["reasoned"]))


def faults(spec: TaskSpec, prompt: Mapping[str, Any], scored: str | None = None) -> list[str]:
    """Where a prompt is not what its file says, or not what was scored (the digest of that, where it is known); empty: it is, byte for
    byte."""
    wording = wording_of(prompt)
    now = exported(spec, wording)
    found = [f"its {name} are not what a model reads today" for name in ("messages", "schema") if _bytes(now[name]) != _bytes(prompt[name])]
    if now["digest"] != prompt["digest"]:
        found.append(f"its digest is {prompt['digest'][:12]}, that of what it holds is {now['digest'][:12]}")
    if scored is not None and now["digest"] != scored:
        found.append(f"what was scored had the digest {scored[:12]}")
    return found


def check(spec: TaskSpec, file: Path, scored: str | None = None) -> dict[str, Any]:
    """The prompt of a file, read again. Raises UserError where `faults` finds any."""
    prompt = read_prompt(file)
    wrong = faults(spec, prompt, scored)
    if wrong:
        raise UserError("; ".join(wrong), where=str(file), how="the task or the file was changed since: search again, or restore it")
    return prompt


def _bytes(value: Sequence[Any] | Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()

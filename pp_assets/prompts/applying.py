"""A searched prompt put into a task: as a variant that is served with exactly the words that were scored."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pp_assets.prompts.search.export import wording_of
from pp_assets.prompts.wording import Wording
from pp_assets.serving.spec import Remote, Serving
from pp_assets.task.spec_edit import write_variant
from pp_resources.errors import UserError, nearest

if TYPE_CHECKING:
    from pp_assets.task.spec import Task, TaskSpec

_OPENER = re.compile(r"\{(?=[{%#])")


def literal(spec: "TaskSpec", wording: Wording) -> Wording:
    """The same words with the examples written out, so that a template says all of it. Raises UserError where that would read
    differently, and for a prompt that asks for reasoning, which a served variant cannot unwrap."""
    where = f"task {spec.name}: prompt"
    if wording.reasoned:
        raise UserError("asks for steps before the answer, which no served variant does", where=where, how="search without reasoning")
    if not wording.shots:
        return wording
    prompt = wording.prompt(spec)
    before, after = (_OPENER.sub('{{ "{" }}', text) for text in (prompt.before, prompt.after))
    made = Wording(wording.system, f"{before}{{{{ input_text }}}}{after}")
    if made.digest(spec) != wording.digest(spec):
        raise UserError("cannot be written as a template that reads the same", where=where, how="export it, and show the examples yourself")
    return made


def variant_of(task: "Task", prompt: Mapping[str, Any], of: str | None) -> dict[str, Any]:
    """The variant that serves a prompt: the task's base language model behind it, or the remote variant `of` with these words."""
    wording = literal(task.spec, wording_of(prompt))
    words = {"system_prompt": wording.system, "instruction_template": wording.template}
    if prompt["asked"] == "base":
        return {"kind": "prompt", **words}
    there = (task.spec.serving or Serving()).variants
    remotes = {name: one for name, one in there.items() if isinstance(one, Remote)}
    if of not in remotes:
        what = f"was searched for {prompt['asked']}, and {of!r} is no remote variant" if of else f"was searched for {prompt['asked']}"
        how = f"name the remote variant that is asked (--of): {nearest(of or '', remotes)}"
        raise UserError(what, where=f"{task.file}: serving.variants", how=how)
    return {**remotes[of].model_dump(mode="json", exclude_defaults=True), "kind": "remote", **words}


def applied(task: "Task", prompt: Mapping[str, Any], name: str, *, of: str | None, overwrite: bool) -> tuple[dict[str, Any], list[str]]:
    """Writes `serving.variants.<name>`; (the variant, what whoever serves should know). Raises UserError, with the file as it was, where
    the name is taken and `overwrite` is not said."""
    serving = task.spec.serving or Serving()
    if name in serving.variants and not overwrite:
        raise UserError(
            f"there is a variant {name!r}", where=f"{task.file}: serving.variants", how="add --yes to write over it, or give --name"
        )
    made = variant_of(task, prompt, of)
    notes = (
        [] if serving.variants else ["until now every packaged variant was served; those that shall still be have to be named beside it"]
    )
    if not serving.routing or name not in serving.routing.weights:
        notes.append("routing gives it no traffic yet")
    write_variant(task, name, made)
    return made, notes

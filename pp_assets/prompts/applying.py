"""A searched prompt put into a task: as a variant that is served with exactly the words that were scored, or as the task's own."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from pp_assets.prompts.propose import template
from pp_assets.prompts.search.export import wording_of
from pp_assets.prompts.wording import Wording
from pp_assets.serving.local import served_wording
from pp_assets.serving.spec import Remote, Serving, Variant
from pp_assets.task.spec_edit import words_written, write_variant, write_words
from pp_resources.errors import UserError, nearest

if TYPE_CHECKING:
    from pp_assets.task.spec import Task, TaskSpec
    from pp_resources.settings import Settings

_EXAMPLES = re.compile(r"\{\{ *examples *\}\}")
_VARIANT: TypeAdapter[Variant] = TypeAdapter(Variant)


def literal(spec: "TaskSpec", wording: Wording) -> Wording:
    """The same words with the examples written out, with their steps where it asks for some, so that a template says all of it. Raises
    UserError where that would read differently."""
    if not wording.shots:
        return wording
    prompt, shown = wording.prompt(spec), template.literal(wording.block(spec))
    before, after = (template.literal(text) for text in (prompt.before, prompt.after))
    placed = _EXAMPLES.sub(lambda _slot: shown, wording.template)
    # The schema and the labels stay what the task says wherever that reads the same, which it does not behind `{% if examples %}`.
    for source in (placed if placed != wording.template else shown + placed, f"{before}{{{{ input_text }}}}{after}"):
        made = Wording(wording.system, source, reasoned=wording.reasoned)
        if template.sound(spec, source) and made.digest(spec) == wording.digest(spec):
            return made
    how = "export it, and show the examples yourself"
    raise UserError("cannot be written as a template that reads the same", where=f"task {spec.name}: prompt", how=how)


def variant_of(task: "Task", prompt: Mapping[str, Any], of: str | None, settings: "Settings") -> dict[str, Any]:
    """The variant that serves a prompt: the task's base language model behind it, or the remote variant `of` with these words; without
    `of` the model that it was searched for, by its name."""
    wording = literal(task.spec, wording_of(prompt))
    words: dict[str, Any] = {"system_prompt": wording.system, "instruction_template": wording.template}
    words |= {"reasoned": True} if wording.reasoned else {}
    if prompt["asked"] == "base":
        return {"kind": "prompt", **words}
    if of is None and (known := named(prompt["asked"], settings)):
        return {**known, **words}
    there = (task.spec.serving or Serving()).variants
    remotes = {name: one for name, one in there.items() if isinstance(one, Remote)}
    if of not in remotes:
        what = f"was searched for {prompt['asked']}, and {of!r} is no remote variant" if of else f"was searched for {prompt['asked']}"
        how = f"name the remote variant that is asked (--of): {nearest(of or '', remotes)}"
        if not remotes:
            how = "add one to the task file first, such as {kind: remote, url: 'http://127.0.0.1:8000/v1', model: NAME}, and name it: --of"
        raise UserError(what, where=f"{task.file}: serving.variants", how=how)
    return {**remotes[of].model_dump(mode="json", exclude_defaults=True, exclude={"reasoned"}), "kind": "remote", **words}


def named(model: str, settings: "Settings") -> dict[str, Any] | None:
    """The remote variant that asks a model by its name: `provider/model` of the table, or `ADDRESS#MODEL`; None for any other."""
    from pp_assets.providers import halves, provider_table

    url, _, there = model.partition("#")
    if there:
        return {"kind": "remote", "url": url, "model": there}
    provider, served = halves(model)
    return {"kind": "remote", "provider": provider, "model": served} if served and provider in provider_table(settings) else None


def applied(
    task: "Task", prompt: Mapping[str, Any], name: str, *, of: str | None, overwrite: bool, settings: "Settings"
) -> tuple[dict[str, Any], list[str]]:
    """Writes `serving.variants.<name>`; (the variant, what whoever serves should know). Raises UserError, with the file as it was, where
    the name is taken and `overwrite` is not said, or where what would be served is not what was scored."""
    serving = task.spec.serving or Serving()
    if name in serving.variants and not overwrite:
        raise UserError(
            f"there is a variant {name!r}", where=f"{task.file}: serving.variants", how="add --yes to write over it, or give --name"
        )
    made = variant_of(task, prompt, of, settings)
    _check(task, served_wording(task.spec, _VARIANT.validate_python(made)), prompt)
    notes = (
        [] if serving.variants else ["until now every packaged variant was served; those that shall still be have to be named beside it"]
    )
    if not serving.routing or name not in serving.routing.weights:
        notes.append("routing gives it no traffic yet")
    write_variant(task, name, made)
    return made, notes


def own_words(task: "Task", prompt: Mapping[str, Any]) -> Wording:
    """The words of a prompt as a task's own. Raises UserError where they would not be what was scored, and for a prompt that asks for
    steps: an adapter learns the answer alone."""
    wording = literal(task.spec, wording_of(prompt))
    if wording.reasoned:
        how = "serve it as a variant: leave out --own"
        raise UserError("asks for steps before the answer, which a task's own prompt does not", where=f"task {task.name}: prompt", how=how)
    _check(task, wording, prompt)
    return wording


def own_written(task: "Task", prompt: Mapping[str, Any]) -> str:
    """The task's file as `applied_own` would leave it."""
    wording = own_words(task, prompt)
    return words_written(task, wording.system, wording.template)


def applied_own(task: "Task", prompt: Mapping[str, Any]) -> None:
    """Writes the words into `system_prompt` and `instruction_template`, over those that are there. Raises UserError, with the file as it
    was, as `own_words` does."""
    wording = own_words(task, prompt)
    write_words(task, wording.system, wording.template)


def _check(task: "Task", wording: Wording, prompt: Mapping[str, Any]) -> None:
    now = wording.digest(task.spec)
    if now != prompt["digest"]:
        what = f"would read as {now[:12]}, and {prompt['digest'][:12]} was scored"
        raise UserError(what, where=f"task {task.name}: prompt", how="the task was changed since: search again, or restore it")

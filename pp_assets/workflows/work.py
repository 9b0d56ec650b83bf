"""What a step works with while it runs: values of names, rows, models, the output of other steps."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pp_assets.data.readers import kind_of, read_rows
from pp_assets.kept import KeptPredictor
from pp_assets.task.lines import Fault
from pp_assets.task.spec_file import read_mapping, strict_json
from pp_assets.workflows.asking import Behind, Counted, How, system_of
from pp_assets.workflows.components import Text
from pp_assets.workflows.grammar import Defaults, Instance
from pp_assets.workflows.planned import Planned
from pp_assets.workflows.statistics import Answers, Measured
from pp_assets.workflows.suite import Row, Suite, rows_of
from pp_assets.workflows.template import as_text, inside, render, value_of
from pp_resources.errors import UserError
from pp_resources.fingerprint import code_digest
from pp_resources.models.chat import ChatModel

CONTEXT = 8000  # characters of another step's output in a prompt
INPUT = "{input}"


@dataclass
class Work:
    """One step of one run. `outputs` are those of the steps that it reads; `open_model` gives a model by name; `kept` is the folder under
    which answers are kept; `tries` how often this run has tried the step in vain."""

    planned: Planned
    defaults: Defaults
    variables: Mapping[str, Any]
    outputs: Mapping[str, Any]
    folder: Path
    workspace: Path
    kept: Path
    open_model: Callable[[str], ChatModel]
    tries: int = 0
    models: dict[str, Counted] = field(default_factory=dict)

    @property
    def where(self) -> str:
        return f"step {self.planned.name}"

    def value(self, name: str, own: Mapping[str, Any] | None = None, *, outside: bool = False) -> Any:
        """What a name means here, or `outside`, where the step's own variables are not known. Raises UserError for a part that an output
        does not have."""
        first, *path = name.split(".")
        step = self.planned.step
        if own and first in own:
            found = own[first]
        elif first in step.variables and not outside:
            found = self.evaluated(step.variables[first], outside=True)
        elif first in self.variables:
            found = self.variables[first]
        elif first in self.outputs:
            found = self.outputs[first]
            if path and isinstance(found, dict) and path[0] not in found:
                found = {one["name"]: one for one in found.get("instances", ())} or found
        elif first in self.planned.items:
            other, key, place = self.planned.items[first]
            found, path = self.outputs[other], [key, str(place - 1)]
        else:
            raise UserError(f"nothing is known of {{{name}}}", where=self.where)
        try:
            return inside(found, path)
        except KeyError as error:
            raise UserError(
                f"{{{name}}}: the output has no {error.args[0]!r}", where=self.where, how="see what the step before gave"
            ) from None

    def evaluated(self, given: Any, *, outside: bool = False) -> Any:
        """A value with its names replaced: text, or a list or mapping of it."""
        if isinstance(given, str):
            return value_of(given, lambda name: self.value(name, outside=outside))
        if isinstance(given, list):
            return [self.evaluated(one, outside=outside) for one in given]
        return {key: self.evaluated(one, outside=outside) for key, one in given.items()} if isinstance(given, Mapping) else given

    def rendered(self, texts: tuple[Text, ...], own: Mapping[str, Any] | None = None) -> str:
        return "\n".join(render(text.text, lambda name: self.value(name, own)).rstrip("\n") for text in texts)

    def prompt(self, own: Mapping[str, Any] | None = None, instance: Text | None = None) -> str:
        """The step's prompt, or the instance's, and below it the output of the step before where no step is named."""
        texts = (instance,) if instance else self.planned.prompt
        return "\n\n".join(filter(None, [self.rendered(texts, own), self.context()]))

    def context(self) -> str:
        name = self.planned.context
        return "" if name is None else f"Output of {name}:\n{_short(self.outputs[name])}"

    def rows(self) -> list[Row]:
        found = self.evaluated(self.planned.rows)
        return rows_of(read_file(self.file(found)) if isinstance(found, str) else found, f"{self.where}: rows")

    def file(self, name: str) -> Path:
        """A file that steps wrote, else one beside the workflow."""
        places = [folder / Path(name).expanduser() for folder in (self.workspace, self.folder)]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise UserError(f"there is no file {name!r}", where=self.where, how=f"put it into {self.workspace} or {self.folder}")
        return found

    def model(self, instance: Instance | None = None) -> tuple[Counted, How]:
        """The model that is asked, and how."""
        name, how = self.named(instance)
        return self.counted(name), how

    def named(self, instance: Instance | None = None) -> tuple[str, How]:
        """The model's name, and how it is asked: what the instance says, else the step, else its type; the defaults of the workflow."""
        options, defaults = self.planned.step.options, self.defaults
        config = self.evaluated(instance.llm) if instance is not None and instance.llm is not None else {}
        config = {"model": config} if isinstance(config, str) else config
        if not isinstance(config, Mapping) or config.keys() - {"model", "temperature", "max_tokens", "seed"}:
            raise UserError(
                f"{config!r} is no model_config", where=self.where, how="a model's name, or {model, temperature, max_tokens, seed}"
            )
        stated = {key: getattr(options, key) for key in ("temperature", "max_tokens", "seed")}
        settled = {key: config.get(key, getattr(defaults, key) if own is None else own) for key, own in stated.items()}
        name = config.get("model") or (options.model and self.evaluated(options.model)) or defaults.model or self.planned.model
        corrections = defaults.corrections if options.corrections is None else options.corrections
        return str(name), How(corrections=corrections, tries=self.tries, **settled)

    def counted(self, name: str) -> Counted:
        if name not in self.models:
            self.models[name] = Counted(self.open_model(name))
        return self.models[name]

    def behind(self, model: Counted, how: How, prompt: str, role: str, form: Mapping[str, Any]) -> Behind:
        """The model behind a prompt, for many inputs: where the prompt holds `{input}` it is the question, else it is the instruction."""
        if INPUT in prompt:
            return Behind(model, system_of(role, "", form), prompt, form, how)
        return Behind(model, system_of(role, prompt, form), INPUT, form, how)

    def predictor(self, behind: Behind) -> KeptPredictor:
        """Its answers are kept: a kill costs at most a few of them."""
        return KeptPredictor(self.kept / "answers.db", behind, code_digest("pp_assets.workflows.asking"), batch=16)

    def measured(self) -> Measured:
        """The scored answers of the steps that functions may look at, by `step.instance`."""
        found = {}
        for step in self.planned.measured:
            for one in self.outputs[step].get("instances", ()):
                if one.get("metrics") is None:
                    continue
                suite = Suite(step, one["rows"], self.seed, one["asked"]["form"])
                found[f"{step}.{one['name']}"] = Answers(one["name"], suite, one["rows"], partial(self._again, one["asked"]))
        return Measured(found)

    @property
    def seed(self) -> int:
        own = self.planned.step.options.seed
        return self.defaults.seed if own is None else own

    def _again(self, asked: Mapping[str, Any]) -> KeptPredictor:
        how = How(asked["temperature"], asked["max_tokens"], asked["seed"])
        return self.predictor(Behind(self.counted(asked["model"]), asked["system"], asked["user"], asked["schema"], how))


def read_file(path: Path) -> Any:
    """Rows of a file, or what a JSON or YAML file holds. Raises UserError."""
    if path.suffix == ".json":
        try:
            return strict_json(path.read_text("utf-8"))
        except (ValueError, RecursionError) as error:
            raise UserError(f"not JSON: {error}", where=str(path)) from error
    if path.suffix in (".yaml", ".yml"):
        return read_mapping(path)
    rows = []
    for number, row, _ in read_rows(path, kind_of(path)):
        if isinstance(row, Fault):
            raise UserError(row.reason, where=f"{path}:{number}", how="mend the line")
        rows.append(dict(row))
    return rows


def _short(value: Any) -> str:
    """An output as another step's model is shown it: of many answers the metrics and the first three of each instance."""
    if isinstance(value, dict) and isinstance(value.get("instances"), list):
        value = {**value, "instances": [_few(one) for one in value["instances"]]}
    elif isinstance(value, dict) and isinstance(value.get("rows"), list):
        value = _few(value)
    text = as_text(value)
    return text if len(text) <= CONTEXT else f"{text[:CONTEXT]}… (cut, {len(text)} characters in all)"


def _few(one: Mapping[str, Any]) -> dict[str, Any]:
    rows = one.get("rows")
    kept = {key: inner for key, inner in one.items() if key not in ("asked", "rows")}
    return kept if rows is None else {**kept, "count": len(rows), "first": rows[:3]}


def write_value(value: Any, name: str) -> str:
    """An output as the text of a file: by the ending JSON, JSON lines, or text."""
    if name.endswith(".jsonl"):
        rows = value.get("rows") if isinstance(value, Mapping) else value
        rows = rows if isinstance(rows, list) else [value]
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if name.endswith(".json"):
        return json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    return as_text(value).rstrip("\n") + "\n"

"""The models of one process, ready to answer: each is loaded once, and bases are shared by all that were made from them."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pp_assets.packaging.predict import open_package
from pp_assets.prompts.prompted import budget_of
from pp_assets.prompts.wording import Wording
from pp_assets.serving.spec import Dicl, FewShot, Prompt
from pp_assets.task.prompt import Shot, labels, template_fault
from pp_assets.task.spec import Task, TaskSpec
from pp_assets.training.predictors import Bases
from pp_resources.artifacts import ArtifactStore
from pp_resources.errors import UserError
from pp_resources.fingerprint import canonical_json, digest
from pp_resources.models.bases import find_base
from pp_resources.models.interface import Predictor
from pp_resources.settings import Settings


class LocalModels:
    """Predictors by what they are made of. One thread at a time may load; any may ask what is loaded."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._bases = settings, Bases(settings.device)
        self._loaded: dict[str, Predictor] = {}

    def package(self, folder: Path) -> tuple[str, Predictor]:
        """(key, the model of a package). Raises UserError where the package is not whole or its base is not there."""
        key = f"package {folder}"

        def load() -> Predictor:
            return open_package(folder, threads=self._settings.threads, bases=self._bases).predictor

        return self._once(key, load)

    def prompted(self, task: Task, variant: Prompt | FewShot | Dicl, shots: Sequence[Shot] = ()) -> tuple[str, Any]:
        """(key, the task's base language model behind its prompt). Where steps are asked for, they stand in what it says."""
        spec, wording = task.spec, served_wording(task.spec, variant).showing(shots)
        prompt, schema = wording.prompt(spec), wording.schema(spec)
        made_of = [spec.base_model_id, prompt.system, prompt.before, prompt.after, schema, spec.decoding.model_dump()]

        def load() -> Predictor:
            from pp_resources.models.causal import DEFAULT_BUDGET

            base = self._bases.causal(find_base(spec.base_model_id))
            budget = budget_of(wording, spec.decoding.max_new_tokens or DEFAULT_BUDGET)
            return base.bare(  # type: ignore[no-any-return]
                spec.base_model_id, schema, prompt, constrained=spec.decoding.constrained, max_new_tokens=budget
            )

        return self._once(f"prompt {digest(made_of, ordered=True)}", load)

    def keep(self, keys: Collection[str]) -> None:
        """Let go of all other models; nobody may be asking them any more."""
        for key in [key for key in self._loaded if key not in keys]:
            unload(self._loaded.pop(key))

    def _once(self, key: str, load: Callable[[], Predictor]) -> tuple[str, Predictor]:
        if key not in self._loaded:
            self._loaded[key] = load()
        return key, self._loaded[key]


def unload(predictor: Any) -> None:
    """Take a model's adapters out of its base."""
    for member in getattr(predictor, "members", ()):
        unload(member)
    for one in (predictor, getattr(predictor, "encoder", None)):
        if release := getattr(one, "unload", None):
            release()


def worded(spec: TaskSpec, variant: Any) -> TaskSpec:
    """The task with a variant's own words. Raises UserError for a template that is not sound."""
    changes = {name: said for name in ("system_prompt", "instruction_template") if (said := getattr(variant, name)) is not None}
    if "instruction_template" in changes:
        fault = template_fault(changes["instruction_template"], canonical_json(labels(spec)))
        if fault:
            raise UserError(fault[0], where=f"task {spec.name}: serving: instruction_template", how=fault[1])
    return spec.model_copy(update=changes)


def served_wording(spec: TaskSpec, variant: Any) -> Wording:
    """What a variant is asked with, before examples that are chosen. Raises UserError as `worded`."""
    return replace(Wording.of(worded(spec, variant)), reasoned=variant.reasoned)


def training_shots(store: ArtifactStore, task: Task, count: int) -> Sequence[Shot]:
    """Examples of the training rows for a prompt. Raises UserError before the data set was made."""
    from pp_assets.base_systems import few_shot
    from pp_assets.task.examples import read_split

    dataset = store.require("datasets", task.name, f"run 'pp data build {task.name}'")
    return few_shot(read_split(dataset.path, "train"), count, task.spec.seed)

"""What can stand on a table of models: trained variants, packages, the bare base, models at addresses; each answers the task's inputs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pp_assets import pipeline as stages
from pp_assets.kept import KeptPredictor, Model
from pp_assets.pipeline import read_json
from pp_assets.providers import OURS, chat_model
from pp_assets.sources import source_digest
from pp_assets.training.recipes import RECIPES
from pp_resources.artifacts import MANIFEST, SLUG, Artifact
from pp_resources.errors import UserError, nearest
from pp_resources.json_server import is_loopback
from pp_resources.models.interface import Predictor
from pp_resources.models.price import Price

if TYPE_CHECKING:
    from pp_assets.answers import Answers
    from pp_assets.base_systems import BareModel
    from pp_assets.pipeline import Pipeline
    from pp_assets.task.examples import Example
    from pp_assets.task.spec import Task

BARE = "base-"
BARE_NAMES = tuple(f"{BARE}{shot}-shot{form}" for shot in ("zero", "few") for form in ("", "-constrained"))
AT_ONCE = 64  # messages of one call: a kill costs at most so many answers
UNKNOWN = "not known"


@dataclass(frozen=True)
class Contender:
    """One model. `kept` are the predictors whose kept answers `predictor` answers by: one, or the members of an ensemble. `timed` answers
    anew each time, where that takes this machine alone. `price` is of tokens, None where nobody said what they cost; `features` are words.
    """

    name: str
    description: str
    predictor: Predictor
    kept: Sequence[KeptPredictor]
    here: bool
    timed: Model | None = None
    price: Price | None = None
    features: Mapping[str, str] = field(default_factory=dict)


def check_named(p: "Pipeline", task: "Task", named: Sequence[str]) -> None:
    """Raise UserError with the nearest name for a model that is not to be had, before any data is read; nothing is loaded or asked."""
    for name in dict.fromkeys(named):
        if name.startswith(BARE):
            if name not in BARE_NAMES:
                raise UserError(f"no model {name!r}", where="models", how=nearest(name, BARE_NAMES))
        elif not _adapter(p, task, name) and not _is_package(name):
            variant = name.removeprefix(f"{task.name}/")
            if variant in RECIPES:
                how = f"train it with 'pp train {task.name} --variant {variant}'"
                raise UserError("is not trained yet", where=f"variant {task.name}/{variant}", how=how)
            if SLUG.match(variant) and name != OURS:
                known = {*task.spec.variants, *trained_variants(p, task.name), OURS}
                raise UserError(f"no model {name!r}", where="models", how=nearest(variant, known))
            chat_model(name, p.settings)


def contenders(p: "Pipeline", task: "Task", train: Sequence["Example"], named: Sequence[str], shots: int = 0) -> list[Contender]:
    """Models by name: VARIANT or TASK/VARIANT, the folder of a package, base-zero-shot and its like for the bare base, or what
    `chat_model` knows; `shots` training rows stand in the prompt of the latter. `check_named` has let the names pass. Raises UserError for
    a bare base whose context is too short for examples, and a package of other answers."""
    from pp_assets.answers import Answers

    asking = Answers(p, task)
    found: list[Contender] = []
    bare: dict[str, Contender] = {}
    for name in dict.fromkeys(named):
        if name.startswith(BARE):
            bare = bare or _bare(p, task, train)
            if name not in bare:
                how = f"name one of {', '.join(bare)}"
                raise UserError(f"{name!r} has no room for examples in its context", where="models", how=how)
            found.append(bare[name])
        elif adapter := _adapter(p, task, name):
            found.append(_trained(asking, name, adapter))
        elif _is_package(name):
            found.append(_packaged(p, task, name, asking.asked))
        else:
            found.append(_asked(p, task, train, name, shots))
    return found


def trained_variants(p: "Pipeline", name: str) -> list[str]:
    """Variants of a task that are trained, those of its spec first."""
    there = [key.partition("/")[2] for key in p.store.keys(stages.ADAPTERS) if key.startswith(f"{name}/")]
    wanted = p.task(name).spec.variants
    return [v for v in wanted if v in there] + [v for v in there if v not in wanted]


def kept_answers(p: "Pipeline", name: str, variant: str) -> list[KeptPredictor]:
    """The predictors whose kept answers a trained variant answers by; none where it is not trained yet."""
    from pp_assets.answers import Answers

    adapter = p.store.current(stages.ADAPTERS, f"{name}/{variant}")
    return _parts(Answers(p, p.task(name)), adapter) if adapter else []


def _parts(asking: "Answers", adapter: Artifact) -> list[KeptPredictor]:
    from pp_assets.ensembles import member_artifacts

    members = member_artifacts(asking.p, adapter).values() or [adapter]
    return [one for one in map(asking.of, members) if isinstance(one, KeptPredictor)]


def _is_package(name: str) -> bool:
    return (Path(name).expanduser() / MANIFEST).is_file()


def _adapter(p: "Pipeline", task: "Task", name: str) -> Artifact | None:
    owner, _, variant = name.partition("/") if "/" in name else (task.name, "", name)
    if not SLUG.match(owner) or not SLUG.match(variant):
        return None
    found = p.store.current(stages.ADAPTERS, f"{owner}/{variant}")
    if found and owner != task.name:
        raise UserError(f"is of the task {owner}", where=f"model {name}", how=f"name a variant of {task.name}")
    return found


def _trained(asking: "Answers", name: str, adapter: Artifact) -> Contender:
    from pp_assets.experiment.systems import of_adapter
    from pp_assets.training.recipes import get_recipe

    task, variant = asking.task, adapter.key.partition("/")[2]
    features = _of_training(task, read_json(adapter.file("training.json")))
    timed = of_adapter(asking.p, task.spec, adapter)
    described = get_recipe(variant).description
    return Contender(name, described, asking.of(adapter), _parts(asking, adapter), True, timed, features=features)


def _packaged(p: "Pipeline", task: "Task", name: str, asked: Counter[str]) -> Contender:
    from pp_assets.experiment.systems import answering_code, packaged
    from pp_assets.packaging.layout import TRAINING

    model = packaged(p, name)
    if model.spec.output_schema != task.output_schema:
        raise UserError(f"is of {model.key}, whose answers have another schema", where=name, how=f"name a package of {task.name}")
    kept = KeptPredictor(p.settings.home / "cells.db", model, answering_code(), asked=asked)
    features = _of_training(task, read_json(model.folder / TRAINING))
    return Contender(name, f"The package {model.key}", kept, [kept], True, model, features=features)


def _bare(p: "Pipeline", task: "Task", train: Sequence["Example"]) -> dict[str, Contender]:
    from pp_assets.base_systems import bare_models
    from pp_assets.results import bare_code

    def one(model: "BareModel", said: str) -> Contender:
        kept = KeptPredictor(p.settings.home / "cells.db", model, bare_code())
        licence = _licence(model.base.folder)
        features = _here("json_schema" if model.bound else "none", model.base.context, licence)
        return Contender(model.name, said, kept, [kept], True, model, features=features)

    return {model.name: one(model, said) for model, said in bare_models(task, train, p.settings.device)}


def _asked(p: "Pipeline", task: "Task", train: Sequence["Example"], name: str, shots: int) -> Contender:
    """A model behind the task's own prompt."""
    from dataclasses import replace

    from pp_assets.base_systems import few_shot
    from pp_assets.prompts.prompted import ChatTarget
    from pp_assets.prompts.wording import Shown, Wording

    model = chat_model(name, p.settings)
    shown = tuple(Shown(row.input_text, row.output, item_id=row.item_id) for row in few_shot(train, shots, task.spec.seed))
    behind = ChatTarget(model, task.spec.decoding.max_new_tokens).behind(task.spec, replace(Wording.of(task.spec), shots=shown), name)
    code = source_digest("pp_assets.prompts.prompted", "pp_assets.prompts.wording")
    kept = KeptPredictor(p.settings.home / "cells.db", behind, code, batch=AT_ONCE)
    url = getattr(model, "url", "")
    offline = "yes, a server on this machine" if url and is_loopback(urlsplit(url).hostname or "") else "no" if url else "yes"
    form = str(getattr(model, "form", UNKNOWN if url else "json_schema"))  # what runs here is bound to the schema
    features = {"structured output": form, "streaming": UNKNOWN, "distributions": "no"}
    features |= {"context": UNKNOWN, "offline": offline, "licence": UNKNOWN}
    said = f"{model.name} behind the task's prompt, {len(shown) or 'no'} examples"
    return Contender(name, said, kept, [kept], not url, None if url else behind, model.price, features)


def _of_training(task: "Task", training: Mapping[str, Any]) -> dict[str, str]:
    """Features of what was trained here; an ensemble has the shortest context of its members."""
    from transformers import AutoConfig

    from pp_assets.training.predictors import bases_of
    from pp_resources.models.bases import find_base
    from pp_resources.models.causal import context_length

    folders = [find_base(base) for base in bases_of(training)]
    context = min(context_length(AutoConfig.from_pretrained(folder, local_files_only=True)) for folder in folders)
    free = training["family"] == "causal" and not task.spec.decoding.constrained
    licences = sorted({_licence(folder) for folder in folders})
    return _here("none" if free else "json_schema", context, ", ".join(licences))


def _here(form: str, context: int, licence: str) -> dict[str, str]:
    return {
        "structured output": form,
        "streaming": "through 'pp serve'",
        "context": f"{context:,} tokens",
        "offline": "yes",
        "licence": licence,
    }


def _licence(folder: Path) -> str:
    from pp_assets.packaging.card import base_license

    return base_license(folder) or UNKNOWN

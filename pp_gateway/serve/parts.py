"""What a generation is made of: variants loaded in a worker thread, then joined with queues and connections in the event loop."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets.champion import read_champion, standing
from pp_assets.flywheel.trial import Trial, read_trial
from pp_assets.pipeline import DATASETS
from pp_assets.prompts.dicl.retriever import Choosing
from pp_assets.prompts.dicl.systems import ContextPredictor
from pp_assets.prompts.wording import Wording
from pp_assets.serving.local import served_wording, training_shots
from pp_assets.serving.remotes import key_of, settled
from pp_assets.serving.spec import (
    BestOfN,
    Cascade,
    Dicl,
    Ensemble,
    FewShot,
    Package,
    Prompt,
    Remote,
    Serving,
    Variant,
    check_names,
    parts_of,
)
from pp_assets.serving.versions import dataset_of, model_of, package_of, packaged, renewed, versions
from pp_assets.task.contract.files import load_contract
from pp_assets.task.examples import read_split
from pp_assets.task.spec import Task
from pp_assets.task.spec_file import FieldProblem
from pp_gateway.serve.config import GatewayConfig
from pp_gateway.serve.engine import Batcher
from pp_gateway.serve.function import Function, OnTrial
from pp_gateway.serve.generation import Generation
from pp_gateway.serve.handoff import Doubter
from pp_gateway.serve.logbook import Redactor
from pp_gateway.serve.said import Answerer
from pp_gateway.serve.variants import BestOf, Local, Reasoned, RemoteModel, Steps, Vote, by_confidence, by_contract, parse
from pp_resources.artifacts import Artifact
from pp_resources.errors import UserError
from pp_resources.fingerprint import digest
from pp_resources.json_schema import leaf_fields, output_validator
from pp_resources.models.ensemble.opinions import Weights
from pp_resources.models.ensemble.predictor import Combiner, FieldCombiner

if TYPE_CHECKING:
    from pp_gateway.serve.build import Builder

REMOTE_TOKENS = 2000  # of examples, where the context of a model is not known


class Parts:
    """What a generation is made of, as far as that can be made outside of the event loop."""

    def __init__(self, builder: "Builder", config: GatewayConfig) -> None:
        self.builder, self.config = builder, config
        self.tasks: list[tuple[Task, Serving, dict[str, Variant], str]] = []
        self.predictors: dict[tuple[str, str], tuple[str, Any]] = {}
        self.asked: dict[tuple[str, str], tuple[Remote, str | None]] = {}
        self.shots: dict[tuple[str, str], Any] = {}
        self.packages: dict[tuple[str, str], Artifact] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self.remotes: dict[str, tuple[Remote, str | None]] = {}
        self.trials: dict[str, Trial] = {}
        self.doubters: dict[str, Doubter] = {}
        self.skipped: list[str] = []

    def add(self, task: Task) -> None:
        """Load all variants of a task."""
        serving = task.spec.serving or Serving()
        variants = serving.variants or packaged(self.builder.artifacts, task)
        if not variants:
            self.skipped.append(f"task {task.name}: no packaged variant; run 'pp run {task.name}'")
            return
        try:
            check_names(serving, variants)
        except FieldProblem as error:
            raise UserError(error.what, where=f"{task.file}: serving.{error.field}", how=error.how) from error
        kept = {}
        for name, variant in variants.items():
            try:
                self._load(task, name, variant)
                kept[name] = variant
            except UserError as error:
                # What was named must be served; what is only there may be left out.
                if serving.variants:
                    raise UserError(error.what, where=f"task {task.name}: serving.variants.{name}: {error.where}", how=error.how) from error
                self.skipped.append(f"task {task.name}: {name}: {error}")
        if kept and serving.handoff:
            rules = serving.handoff
            # A contract that is asked for and cannot be read must not be passed over.
            contract = load_contract(task) if rules.contract_gates or rules.contract_score is not None else None
            self.doubters[task.name] = Doubter(task.name, rules, self.builder.key, contract)
        if kept:
            models = {name: model_of(self.packages[task.name, name]) for name in kept if (task.name, name) in self.packages}
            self.versions[task.name] = versions(task, kept, models, dataset_of(self.builder.artifacts, task.name))
            self.tasks.append((task, serving, kept, standing(self.builder.settings.home, task, kept)))
            self._try(task)

    def _try(self, task: Task) -> None:
        """Load the package that is on trial, where it is compared with the champion of now. One that cannot be loaded stops nothing."""
        home = self.builder.settings.home
        try:
            trial, stands = read_trial(home, task.name) if renewed(task) else None, read_champion(home, task.name)
            if trial is None or stands is None or trial.of != stands.package_digest:
                return
            self.predictors[task.name, trial.role] = self.builder.local.package(Path(trial.pack.package))
            self.trials[task.name] = trial
        except UserError as error:
            self.skipped.append(f"task {task.name}: on trial: {error}")

    def _load(self, task: Task, name: str, variant: Variant) -> None:
        local, place = self.builder.local, (task.name, name)
        if isinstance(variant, Package):
            found = package_of(self.builder.artifacts, task, variant)
            (key, inner), self.packages[place] = local.package(found.path), found
            self.predictors[place] = key, self._blended(task, key, inner) if variant.neighbours else inner
        elif isinstance(variant, Remote):
            remote = settled(variant, self.builder.settings, name)
            self.asked[place] = remote, key_of(remote, name)
        elif isinstance(variant, Prompt):
            self.predictors[place] = local.prompted(task, variant)
        elif isinstance(variant, FewShot):
            shots = training_shots(self.builder.artifacts, task, variant.examples)
            if variant.of is None:
                self.predictors[place] = local.prompted(task, variant, shots)
            self.shots[place] = lambda _text: shots
        elif isinstance(variant, Dicl):
            retriever, choosing = self.builder.examples.retriever(task), _choosing(variant)
            if variant.of is None:
                key, inner = local.prompted(task, variant)
                self.predictors[place] = (
                    key,
                    ContextPredictor(name, task.spec, inner, retriever, choosing, served_wording(task.spec, variant)),
                )
            else:
                self.shots[place] = partial(retriever.select, choosing=choosing)

    def _blended(self, task: Task, key: str, inner: Any) -> Any:
        """The model with a head of neighbours. Raises UserError for one that is no encoder."""
        if not hasattr(inner, "heads"):
            raise UserError("has no neighbours", where="neighbours", how="leave it out, or use a variant of kind dicl")
        found = self.builder.artifacts.require(DATASETS, task.name, f"run 'pp data build {task.name}'")
        return self.builder.examples.blended(task, key, inner, read_split(found.path, "val"), self.builder.engine.pool)

    def assemble(self) -> Generation:
        """Queues and connections, which belong to the event loop."""
        batchers: dict[int, Batcher] = {}
        functions = {}
        for task, serving, variants, champion in self.tasks:
            ready: dict[str, Answerer] = {}
            for name in sorted(variants, key=lambda name: bool(parts_of(variants[name]))):
                ready[name] = self._answerer(task, name, variants, ready, batchers)
            packages = {name: self.packages[task.name, name].digest for name in variants if (task.name, name) in self.packages}
            trial = self.trials.get(task.name)
            made_of = [task.digest, serving.model_dump(mode="json"), packages, champion, *([trial.model_dump()] if trial else [])]
            named = digest(made_of)[:16]
            functions[task.name] = Function(
                task.spec,
                serving,
                {name: ready[name] for name in variants},
                champion,
                digest=named,
                versions=self.versions[task.name],
                redactor=Redactor([self.config.redact, serving.redact]),
                decisions=self.builder.decisions,
                key=self.builder.key,
                packages=packages,
                on_trial=self._on_trial(task, trial, batchers) if trial else None,
                doubter=self.doubters.get(task.name),
            )
        models = {name: self.builder.upstream(remote, key) for name, (remote, key) in self.remotes.items()}
        whole = digest([self.config.model_dump(mode="json"), {name: one.digest for name, one in functions.items()}])[:16]
        keys = {key for key, _ in self.predictors.values()}
        return Generation(
            self.config, functions, models, self.skipped, whole, keys, list(batchers.values()), Redactor([self.config.redact])
        )

    def _answerer(
        self, task: Task, name: str, variants: Mapping[str, Variant], ready: Mapping[str, Answerer], batchers: dict[int, Batcher]
    ) -> Answerer:
        variant, place = variants[name], (task.name, name)
        members = [(part, ready[part]) for part in parts_of(variant)]
        if isinstance(variant, BestOfN):
            judge = by_contract(task) if variant.by == "contract" else by_confidence(_validity(task))
            return BestOf(members, judge)
        if isinstance(variant, Ensemble):
            return Vote(members, FieldCombiner(task.output_schema, vote(task, variant.members)))
        if isinstance(variant, Cascade):
            return Steps(members, variant.threshold, _validity(task))
        if isinstance(variant, Package):
            return self._local(place, batchers, variant.cost)
        wording = served_wording(task.spec, variant)
        asked = self._prompted(task, name, variants, wording, batchers)
        return Reasoned(asked, wording, task.spec) if wording.reasoned else asked

    def _prompted(
        self, task: Task, name: str, variants: Mapping[str, Variant], wording: Wording, batchers: dict[int, Batcher]
    ) -> Local | RemoteModel:
        variant, place = variants[name], (task.name, name)
        if place in self.predictors:
            return self._local(place, batchers, getattr(variant, "cost", None))
        source = name if isinstance(variant, Remote) else str(getattr(variant, "of", ""))
        upstream = self.builder.upstream(*self.asked[task.name, source])
        return RemoteModel(upstream, task.spec, wording, self.shots.get(place))

    def _local(self, place: tuple[str, str], batchers: dict[int, Batcher], cost: float | None = None) -> Local:
        predictor = self.predictors[place][1]
        if id(predictor) not in batchers:
            batch = self.config.batch
            limits = {"most": batch.most, "depth": batch.depth}
            batchers[id(predictor)] = Batcher(self.builder.engine, predictor.predict, wait=batch.wait_ms / 1000, **limits)
        return Local(batchers[id(predictor)], cost)

    def _on_trial(self, task: Task, trial: Trial, batchers: dict[int, Batcher]) -> OnTrial:
        answerer = self._local((task.name, trial.role), batchers)
        return OnTrial(trial.role, answerer, trial.pack.package_digest, trial.of, trial.share)


def vote(task: Task, members: list[str]) -> Combiner:
    """Members with one vote each; where the fields make no valid answer together, the first one's stands."""
    equal = Weights([1.0] * len(members), [0.0] * len(members))
    return Combiner("vote", members, list(range(len(members))), fields={leaf.path: equal for leaf in leaf_fields(task.output_schema)})


def _choosing(variant: Dicl) -> Choosing:
    tokens = variant.tokens if variant.of is None else variant.tokens or REMOTE_TOKENS
    return Choosing(variant.examples, max(Choosing.pool, variant.examples), max_distance=variant.max_distance, tokens=tokens)


def _validity(task: Task) -> Any:
    validator = output_validator(task.output_schema)
    return lambda text: (found := parse(text)) is not None and validator.is_valid(found)

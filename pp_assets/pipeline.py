"""The stages, each one call of `ArtifactStore.produce` with everything that its result depends on. Assets and commands call the same.

A stage reads the current versions of its upstream stages and fails with a hint when one is missing; it never builds them. Nothing here
knows Dagster.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets.data.review import Decisions
from pp_assets.feedback.inbox import Inbox
from pp_assets.task.examples import Example
from pp_assets.task.spec import Task, TaskSpec, load_task, spec_values
from pp_assets.training.overrides import check_params
from pp_resources.artifacts import Artifact, ArtifactStore
from pp_resources.fingerprint import digest
from pp_resources.settings import Settings
from pp_resources.tracker import NullTracker, Tracker
from pp_resources.tracking import open_tracker

if TYPE_CHECKING:
    from pp_assets.prompts.optimising import Wanted
    from pp_assets.prompts.search.arena import Hear
    from pp_assets.training.search import Budget, Trial
    from pp_resources.models.kept_vectors import KeptEmbedder

DATASETS, GENERATED, CLUSTERS, INPUTS, BASELINES = "datasets", "generated", "clusters", "inputs", "baselines"
ADAPTERS, EVALUATIONS, PACKAGES, LEADERBOARDS, REGRESSIONS = "adapters", "evaluations", "packages", "leaderboards", "regressions"
TUNINGS, SUITES, GENERALISATIONS, CHOICES = "tunings", "suites", "generalisations", "generation-choices"
CONTRACTS, DRIFTS, COMPLAINTS, NEXT_STEPS = "contracts", "drifts", "complaints", "next-steps"
PROMPTS = "prompts"
KINDS = {
    "seeds": DATASETS,
    "contract": CONTRACTS,
    "generated_data": GENERATED,
    "clusters": CLUSTERS,
    "evaluated_inputs": INPUTS,
    "generation_choice": CHOICES,
    "baselines": BASELINES,
    "adapter": ADAPTERS,
    "eval_report": EVALUATIONS,
    "package": PACKAGES,
    "leaderboard": LEADERBOARDS,
    "drift": DRIFTS,
    "feedback_clusters": COMPLAINTS,
    "next_step": NEXT_STEPS,
}  # of artifact, by asset
ASSET_OF = {kind: asset for asset, kind in KINDS.items()}
# What a task says about itself that changes no training row, weight or answer; rows have digests of their own.
_WORDS = {
    "description",
    "archived",
    "variants",
    "params",
    "extra_baselines",
    "gates",
    "validation_rules",
    "data",
    "eval_split",
    "primary_metric",
    "rubric",
    "contract",
    "generation",
    "inputs",
    "serving",
    "flywheel",
}
# What an encoder does not read.
_PROMPT = {"system_prompt", "instruction_template", "base_model_id", "decoding"}


@dataclass(frozen=True)
class Training:
    """What a model learns from and is checked on while it learns: kept rows by item id, so that the order of lines does not matter."""

    train: list[Example]
    val: list[Example]
    generated: list[Example]


@dataclass(frozen=True)
class Pipeline:
    """All stages of one installation."""

    settings: Settings
    tracker: Tracker = field(default_factory=NullTracker)

    @classmethod
    def from_env(cls) -> "Pipeline":
        settings = Settings.from_env()
        return cls(settings, open_tracker(settings))

    @cached_property
    def store(self) -> ArtifactStore:
        return ArtifactStore(self.settings.home)

    @cached_property
    def inbox(self) -> Inbox:
        return Inbox(self.settings.home, self.settings.store_url)

    @property
    def decisions(self) -> Decisions:
        """What people said of single rows."""
        return Decisions(self.settings.home / "review" / "decisions.db")

    def embedder(self, model_id: str) -> "KeptEmbedder":
        """An encoder that embeds a text once in this installation."""
        from pp_resources.models.kept_vectors import KeptEmbedder

        return KeptEmbedder(self.settings.home / "embeddings.db", model_id, self.settings.threads)

    @property
    def ledger(self) -> Path:
        return self.settings.home / "ledger" / "test_openings.jsonl"

    def task(self, name: str) -> Task:
        task = load_task(name, self.settings.tasks)
        check_params(task)
        return task

    def current(self, kind: str, key: str) -> Artifact:
        """The version in force; a UserError with the command that makes it when there is none."""
        task, _, variant = key.partition("/")
        return self.store.require(kind, key, f"run 'pp run {task}{f' --variant {variant}' if variant else ''}'")

    def seeds(self, name: str) -> Artifact:
        """Read, check and split the task's data and the demonstrations from the inbox (training rows only)."""
        from pp_assets.datasets import seeds

        return seeds(self, name)

    def contract(self, name: str) -> Artifact:
        """What a good answer is, and how the training rows score by it."""
        from pp_assets.contracts import contract

        return contract(self, name)

    def generated_data(self, name: str) -> Artifact:
        """New rows from training rows."""
        from pp_assets.datasets import generated_data

        return generated_data(self, name)

    def clusters(self, name: str) -> Artifact:
        """Topics of training and generated inputs, with their embeddings."""
        from pp_assets.datasets import clusters

        return clusters(self, name)

    def evaluated_inputs(self, name: str) -> Artifact:
        """A score, a decision and a reason for each training and generated row, and the proof that none of the kept ones leaks."""
        from pp_assets.datasets import evaluated_inputs

        return evaluated_inputs(self, name)

    def generation_choice(self, name: str, *, proof: bool = False) -> Artifact:
        """Whether generated rows are trained on, and why; with `proof` what they are worth on the test split."""
        from pp_assets.proofs import generation_choice

        return generation_choice(self, name, proof=proof)

    def training_rows(self, name: str) -> Training:
        """The rows that the evaluated inputs keep; generated ones only where the task wants them, or they were shown to help."""
        from pp_assets.datasets import training_rows

        return training_rows(self, name)

    def kept_rows(self, name: str) -> Training:
        """The same with all generated rows. What a reviewer rejected is left out, what was edited takes its place."""
        from pp_assets.datasets import kept_rows

        return kept_rows(self, name)

    def baselines(self, name: str) -> Artifact:
        """Answers of every baseline on the test rows."""
        from pp_assets.results import baselines

        return baselines(self, name)

    def adapter(self, name: str, variant: str) -> Artifact:
        """Train a variant; goes on where a killed training stopped."""
        from pp_assets.trainings import adapter

        return adapter(self, name, variant)

    def eval_report(self, name: str, variant: str) -> Artifact:
        """Answers of the current adapter on the test rows, all metrics, the comparison with the best baseline, the verdict."""
        from pp_assets.results import eval_report

        return eval_report(self, name, variant)

    def package(self, name: str, variant: str) -> Artifact:
        """The folder that a user takes away."""
        from pp_assets.results import package

        return package(self, name, variant)

    def leaderboard(self, name: str) -> Artifact:
        """All systems of a task on one table."""
        from pp_assets.results import leaderboard

        return leaderboard(self, name)

    def regression(self, name: str, variant: str) -> Artifact:
        """Test the current version of a variant against the champion; it becomes champion when its verdict is SHIP and it loses nothing."""
        from pp_assets.champion import regression

        return regression(self, name, variant)

    def suite(self, name: str, variant: str) -> Artifact:
        """Try the current adapter in every way: robustness, consistency, bias, the field's metrics, confidences."""
        from pp_assets.suites import suite

        return suite(self, name, variant)

    def overfitting(self, name: str, variant: str, curve: bool = False, control: bool = False) -> Artifact:
        """Compare the current adapter's answers to training rows with those to others; with `curve` train on parts of the rows too, with
        `control` on exchanged outputs."""
        from pp_assets.generalisations import overfitting

        return overfitting(self, name, variant, curve, control)

    def tuning(self, name: str, variant: str, budget: "Budget", on_trial: "Callable[[Trial], None]" = lambda _trial: None) -> Artifact:
        """Search the hyper-parameters of a variant on training and validation rows."""
        from pp_assets.tuning import tuning

        return tuning(self, name, variant, budget, on_trial)

    def prompt(self, name: str, wanted: "Wanted", on_event: "Hear" = lambda _event: None) -> Artifact:
        """Search a prompt on training and validation rows; test rows are opened for the one that was chosen."""
        from pp_assets.prompts.optimising import optimised

        return optimised(self, name, wanted, on_event)

    def drift(self, name: str) -> Artifact:
        """Windows of new inputs from the inbox against the known ones."""
        from pp_assets.drifts import drift_windows

        return drift_windows(self, name)

    def feedback_clusters(self, name: str) -> Artifact:
        """Topics of what people say about answers."""
        from pp_assets.feedback_topics import feedback_clusters

        return feedback_clusters(self, name)

    def next_step(self, name: str) -> Artifact:
        """What the task needs next, by its standards."""
        from pp_assets.next_steps import next_step_of

        return next_step_of(self, name)

    def task_data(self, name: str) -> dict[str, Artifact]:
        """All stages of one task up to the baselines, in order."""
        stages = (
            *(self.seeds, self.contract, self.generated_data, self.clusters),
            *(self.evaluated_inputs, self.generation_choice, self.baselines),
        )
        return {stage.__name__: stage(name) for stage in stages}

    def variant(self, name: str, variant: str) -> dict[str, Artifact]:
        """All stages of one variant, in order; the data must be there."""
        stages = (self.adapter, self.eval_report, self.package, self.regression)
        return {stage.__name__: stage(name, variant) for stage in stages}


def by_id(rows: Any) -> list[Example]:
    return sorted(rows, key=lambda e: e.item_id)


def rows_digest(rows: Sequence[Example]) -> str:
    """Digest of a set of rows and of how they belong together. Their ids are hashes of input and output."""
    return digest([[e.item_id, e.group] for e in by_id(rows)])


def training_spec(task: Task, family: str = "") -> str:
    """Digest of what a training depends on; of the metric the name, of the rubric how fields are compared. An encoder's is the same behind
    any prompt."""
    compare = {path: rule.compare for path, rule in task.spec.rubric.fields.items()}
    read = digest(spec_values(task.spec, _WORDS | (_PROMPT if family == "encoder" else set())), ordered=True)
    return digest([read, task.spec.primary_metric.name, compare], ordered=True)


def answering_spec(spec: TaskSpec) -> str:
    """Digest of what the answers of a model depend on."""
    return digest(spec_values(spec, _WORDS), ordered=True)


def scoring_spec(task: Task) -> str:
    """Digest of what a report and a verdict depend on."""
    return digest(spec_values(task.spec, _WORDS - {"gates", "validation_rules", "primary_metric", "rubric"}), ordered=True)


def base_digest(model_id: str) -> str:
    """SHA-256 of a base model's weights: other weights under the same name make results stale."""
    from pp_resources.models.bases import find_base, weights_sha256

    return weights_sha256(find_base(model_id))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))

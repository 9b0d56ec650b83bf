"""The product's own parts of an experiment: trained models, the step that asks them, the rows and the metrics of a task."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets.evaluation.outputs import strict_json
from pp_assets.evaluation.scoring import Scoring
from pp_assets.experiment.item_scores import score_answer
from pp_assets.experiment.ops import Op, Out, op
from pp_assets.pipeline import ADAPTERS, DATASETS, Pipeline, answering_spec
from pp_assets.result_facts import libraries
from pp_assets.sources import source_digest
from pp_resources.artifacts import MANIFEST, SLUG, Artifact
from pp_resources.device import CPU, device_kind
from pp_resources.errors import UserError, nearest
from pp_resources.fingerprint import digest
from pp_resources.models.interface import Prediction, Predictor
from pp_resources.models.price import Price
from pp_resources.settings import Settings

if TYPE_CHECKING:
    from pp_assets.task.spec import TaskSpec
    from pp_resources.models.causal_prompt import Prompt

BATCH = 128  # texts of one call: a kill costs at most so many answers of each worker


@dataclass(frozen=True)
class TrainedModel:
    """A trained variant or a package, loaded when it is first asked. It answers one batch at a time, whoever asks.

    `name` is what a person called it, `key` its task/variant, `weights` the digest of all that is loaded from `folder`. `behind` is another
    prompt than the task's, for a causal adapter that is not activated; copies share what is loaded.
    """

    name: str
    key: str
    spec: "TaskSpec"
    folder: Path
    weights: str
    threads: int
    device: str = CPU
    behind: "Prompt | None" = None
    price = Price(0.0, 0.0)  # it runs on this machine: no token is paid for
    _loaded: "dict[Prompt | None, Predictor]" = field(default_factory=dict, repr=False, compare=False)
    _asked: Any = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def identity(self) -> str:
        """Of the weights, of what the task says of prompt, schema and decoding, and of the kind of device. A package has that of the
        variant it was made from."""
        own, prompt = f"{self.weights} {answering_spec(self.spec)} {device_kind(self.device)}", self.behind
        return own if prompt is None else f"{own} behind {digest([prompt.system, prompt.before, prompt.after])}"

    def predict(self, texts: Sequence[str], *, distributions: bool = False) -> list[Prediction]:
        """An answer for each text. Raises UserError when the base is not to be found, or a file of a package is not as it says."""
        with self._asked:
            return self._predictor(self.behind).predict(texts, distributions=distributions)

    def _predictor(self, behind: "Prompt | None") -> Predictor:
        if behind not in self._loaded:
            self._loaded[behind] = self._load() if behind is None else self._predictor(None).behind(behind)  # type: ignore[attr-defined]
        return self._loaded[behind]

    def _load(self) -> Predictor:
        from pp_assets.packaging.layout import SPEC
        from pp_assets.packaging.predict import open_package
        from pp_assets.training.predictors import load_predictor

        if (self.folder / SPEC).exists():
            return open_package(self.folder, threads=self.threads).predictor
        return load_predictor(self.folder, self.spec, self.threads, self.device)


def models(*named: str) -> list[TrainedModel]:
    """Models by what a person calls them: TASK/VARIANT for the current version of a trained variant, or the folder of a package.

    Nothing is loaded before the first is asked. Raises UserError with the nearest name for one that is not there.
    """
    p = Pipeline(Settings.from_env())
    return [packaged(p, name) if (Path(name).expanduser() / MANIFEST).is_file() else trained(p, name) for name in named]


def of_adapter(p: Pipeline, spec: "TaskSpec", adapter: Artifact) -> TrainedModel:
    """A stored adapter as a model."""
    return TrainedModel(adapter.key, adapter.key, spec, adapter.path, adapter.digest, p.settings.threads, p.settings.device)


def answering_code() -> str:
    """Version of the code and the libraries that answer; following imports from a step would miss what is loaded by name."""
    return f"{source_digest('pp_assets.training.predictors')} {libraries()}"


@op(version=answering_code, batch=("input_text", BATCH), sampled=False)
def ask(model: Any, input_text: Sequence[str], distributions: bool = False, again: int = 0) -> list[Any]:  # noqa: ARG001
    """The step that asks a model: `Prediction` as an object (text, confidence, fields, …), with its tokens. Works with whatever has
    `identity`, `name` and `predict(texts)`. `distributions` asks for those of the choices too; `again` is in the key of a cell and nowhere
    else: the same question, once more."""
    how = {"distributions": True} if distributions else {}
    said = model.predict(input_text, **how)
    return [Out(one, one.tokens_in, one.tokens_out) if isinstance(one, Prediction) else one for one in said]


@op(sampled=False)
def parsed(answer: Any) -> Any:
    """The step that reads what `ask` gave, or a text: the JSON value in it, None where there is none."""
    try:
        return strict_json(answer if isinstance(answer, str) else answer["text"])
    except ValueError:
        return None


def task_scores(task: Any) -> Op:
    """A scorer with the metrics of a task (its name, or its spec) that an item has a value of: object_exact_match, field_exact_mean,
    json_valid_rate, schema_valid_rate, …, and field_exact.<path> of each field. Its columns are `task.<metric>`.

    It takes the columns `answer` (what `ask` gave, a text, or the parsed output) and `output_json` (the expected one). The mean of a metric
    over items is the number that a report has for the same answers; what cannot be counted for an item is None there and here.
    """
    scoring = Scoring.of(Pipeline(Settings.from_env()).task(task) if isinstance(task, str) else task)
    rules = {"schema": dict(scoring.schema), "compare": dict(scoring.compare)}
    return replace(score_answer, function=partial(score_answer.function, rules=rules), name="task")


def task_rows(task: str, split: str = "val") -> list[dict[str, Any]]:
    """The rows of a task's split: id, input_text, output_json, source_id, group (near-duplicates and rows of one source), meta.

    Each opening of "test" is written down, as everywhere. Raises UserError for a task without data, or for another split.
    """
    from pp_assets.task.examples import open_test_split, read_split

    p = Pipeline(Settings.from_env())
    dataset = p.current(DATASETS, p.task(task).name)
    found = open_test_split(dataset.path, p.ledger, task, "experiment") if split == "test" else read_split(dataset.path, split)
    names = {
        "id": "item_id",
        "input_text": "input_text",
        "output_json": "output",
        "source_id": "source_id",
        "group": "group",
        "meta": "meta",
    }
    return [{name: getattr(row, attribute) for name, attribute in names.items()} for row in found]


def trained(p: Pipeline, named: str) -> TrainedModel:
    """The current version of a trained variant. Raises UserError with the nearest name."""
    from pp_assets.stored_answers import stored_systems

    known = p.store.keys(ADAPTERS)
    task, _, variant = named.partition("/")
    if named in known:
        return of_adapter(p, p.task(task).spec, p.current(ADAPTERS, named))
    if SLUG.match(task) and variant in stored_systems(p, task):
        raise UserError(f"{named} has stored answers and no weights", where="models", how="'pp compare' compares those")
    how = nearest(named, known) if known else "train one with 'pp run TASK'"
    raise UserError(f"no model {named!r}: neither a trained TASK/VARIANT nor the folder of a package", where="models", how=how)


def packaged(p: Pipeline, named: str) -> TrainedModel:
    """The folder of a package as a model. Raises UserError where a file is not as its manifest says."""
    from pp_assets.packaging.layout import ADAPTER, METRICS, SPEC, TOKENIZER, TRAINING, read_manifest, read_object
    from pp_assets.task.spec import parse_spec
    from pp_resources.models.ensemble.predictor import COMBINER, MEMBERS

    folder = Path(named).expanduser().resolve()
    manifest = read_manifest(folder)
    trained = (TRAINING, METRICS, COMBINER)  # with the weights all that the folder of an adapter holds
    files = {n: e["sha256"] for n, e in manifest["files"].items() if n in trained or n.partition("/")[0] in (ADAPTER, TOKENIZER, MEMBERS)}
    spec = parse_spec(read_object(folder / SPEC), SPEC)
    return TrainedModel(named, str(manifest["key"]), spec, folder, digest(files), p.settings.threads, p.settings.device)

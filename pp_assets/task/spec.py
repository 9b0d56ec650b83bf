"""TaskSpec v1: what a task is, in one strict file (`task.yaml`, `task.yml` or `task.json`) of a task folder."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator

from pp_assets.flywheel.policy import Flywheel
from pp_assets.serving.spec import Serving
from pp_assets.task.spec_check import check_cross_references
from pp_assets.task.spec_file import read_mapping, user_error
from pp_assets.task.validation_rules import ValidationRules
from pp_resources.artifacts import SLUG
from pp_resources.errors import UserError, nearest
from pp_resources.fingerprint import digest
from pp_resources.json_schema import Field as Leaf
from pp_resources.json_schema import leaf_fields

FILE_NAMES = ("task.yaml", "task.yml", "task.json")
Slug = Annotated[str, Field(pattern=SLUG.pattern)]
Compare = Literal["exact", "casefold", "set", "ordered"]
Split = Literal["train", "val", "test"]
# In the file a schema may also be the name of a file beside it; in memory it is always inlined.
SchemaObject = Annotated[dict[str, Any], WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "string"}]})]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class IoSchema(_Strict):
    """JSON Schemas of the input text and of the output object; either may be the name of a JSON or YAML file in the task folder."""

    input: SchemaObject = Field(default_factory=lambda: {"type": "string"})
    output: SchemaObject


class RubricField(_Strict):
    description: str = ""
    compare: Compare | None = Field(default=None, description="default: exact; arrays of enums: set; other arrays: ordered")


class Rubric(_Strict):
    text: str = ""
    fields: dict[str, RubricField] = {}


class Ratios(_Strict):
    train: float = Field(default=0.7, gt=0, lt=1)
    val: float = Field(default=0.1, gt=0, lt=1)
    test: float = Field(default=0.2, gt=0, lt=1)


class SplitFiles(_Strict):
    train: str
    val: str | None = None
    test: str


class EvalSplit(_Strict):
    strategy: Literal["random", "stratified", "group", "time", "files"] = "random"
    ratios: Ratios = Ratios()
    seed: int = 0
    stratify_by: str | None = Field(default=None, description="dotted output field; default for 'stratified': the first enum or boolean")
    time_field: str | None = Field(default=None, description="key in meta: a number or an ISO 8601 text")
    files: SplitFiles | None = None
    near_duplicate_threshold: float = Field(
        default=0.8,
        ge=0.3,
        le=1.0,
        description="Jaccard similarity of character 3-grams that keeps rows together; 1: only equal texts",
    )


class PrimaryMetric(_Strict):
    name: str = "object_exact_match"
    higher_is_better: bool = True
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    min_effect: float = Field(default=0.0, ge=0)


class Gate(_Strict):
    metric: str
    op: Literal[">=", "<="]
    value: float


class Decoding(_Strict):
    constrained: bool = True
    max_new_tokens: int | None = Field(default=None, ge=1)
    few_shot: int = Field(default=4, ge=0, le=64)


class Limits(_Strict):
    max_input_chars: int = Field(default=20000, ge=1)


Method = Literal["recombination", "numbers", "composition", "reordering", "synonyms", "noise", "casing", "flipped_cue"]
Asked = Literal["output_first", "paraphrase", "back_translation", "self_instruct", "evolution"]
Exploration = Literal["CONSERVATIVE", "BALANCED", "CREATIVE", "ADVENTUROUS"]
ContextType = Literal[
    "none", "article", "conversation", "debate", "webpage", "passage", "chat history", "email thread", "text messages", "financial document"
]


class Generation(_Strict):
    enabled: bool | Literal["auto"] = Field(
        default=False, description="use generated rows in training; 'auto': where they help on the validation rows (pp generate --proof)"
    )
    per_seed: int = Field(default=1, ge=1, le=100, description="attempts for each training row, on average")
    methods: list[Method] | None = Field(default=None, description="default: those of the exploration mode")
    exploration_mode: Exploration = Field(default="BALANCED", description="how far from the training rows new ones may be")
    similarity_threshold: float = Field(default=0.98, gt=0.5, le=1.0, description="cosine from which rows with one output say the same")
    min_contract_score: float = Field(default=0.5, ge=0, le=1)
    ask: list[Asked] = Field(
        default=["output_first", "paraphrase", "self_instruct", "evolution"], description="what a provider is asked for, where one is set"
    )
    ask_rows: int = Field(default=100, ge=0, le=100_000, description="the most requests of one run")
    num_shots: int = Field(default=4, ge=1, le=50, description="training rows that a request shows")
    themes: list[str] = Field(default=[], description="what asked rows should be about")
    themes_coverage: float = Field(default=0.5, ge=0, le=1, description="share of the requests that name a theme")
    context_types: list[ContextType] = Field(
        default=["none"], min_length=1, description="the form of the texts that are asked for, in turn"
    )
    seeds: int = Field(default=3, ge=1, le=20, description="trainings of each side in the comparison with and without generated rows")
    confidence: float = Field(default=0.8, ge=0.5, lt=1, description="'auto' uses them when they are better with this confidence")


class Threshold(_Strict):
    """What a row must reach to be learnt from; a value that cannot be had breaks none."""

    min_score: float = Field(default=0.0, ge=0, le=1, description="mean of the checks")
    min_contract: float = Field(default=0.0, ge=0, le=1, description="score of the row's output by the task's contract")
    max_novelty: float = Field(default=1.0, ge=0, le=1, description="share of the written rows that lie nearer to the others")
    max_difficulty: float = Field(default=1.0, ge=0, le=1, description="how much classifiers disagree on it")


class GeneratedThreshold(Threshold):
    min_score: float = Field(default=0.6, ge=0, le=1, description="mean of the checks")


class Inputs(_Strict):
    written: Threshold = Threshold()
    generated: GeneratedThreshold = GeneratedThreshold()


class TaskSpec(_Strict):
    """A task as its author wrote it, schemas inlined. Every cross-reference between the fields has been checked."""

    version: Literal[1] = 1
    name: Slug
    description: str = ""
    archived: bool = False
    seed: int = Field(default=0, ge=0, lt=2**32)
    base_model_id: str = Field(default="promptprecision/tiny-base", min_length=1)
    encoder_model_id: str = Field(default="sentence-transformers/all-MiniLM-L6-v2", min_length=1)
    system_prompt: str = ""
    instruction_template: str = Field(description="Jinja2: input_text (exactly once), schema, labels, examples")
    io_schema: IoSchema
    label_enums: dict[str, list[str]] = {}
    rubric: Rubric = Rubric()
    contract: str | None = Field(
        default=None, min_length=1, description="file beside this one that says what a good answer is; default: contract.yaml, else derived"
    )
    data: str = Field(default="data.jsonl", min_length=1)
    eval_split: EvalSplit = EvalSplit()
    variants: list[Slug] = Field(default=["encoder-lora", "lora-r8"], min_length=1)
    params: dict[Slug, dict[str, bool | int | float | str | list[str]]] = Field(
        default={}, description="by variant: hyper-parameters that differ from its recipe; 'pp tune' finds some"
    )
    extra_baselines: list[Literal["contrastive-logreg"]] = Field(
        default=[], description="beside those that every task has; contrastive-logreg takes up to half a minute of one core"
    )
    primary_metric: PrimaryMetric = PrimaryMetric()
    gates: list[Gate] = []
    validation_rules: ValidationRules | None = Field(default=None, description="what the prompt and the evaluation must be")
    decoding: Decoding = Decoding()
    limits: Limits = Limits()
    generation: Generation = Generation()
    inputs: Inputs = Field(default=Inputs(), description="which rows go on to training")
    serving: Serving | None = Field(default=None, description="how the gateway answers for this task; a package leaves it out")
    flywheel: Flywheel | None = Field(default=None, description="how new models come into use; a package leaves it out")

    @model_validator(mode="after")
    def _cross_references(self) -> Self:
        check_cross_references(self)
        return self

    @property
    def output_schema(self) -> dict[str, Any]:
        return self.io_schema.output

    def compare(self, path: str) -> Compare:
        """How a field's values are compared: the rubric's word, else by kind."""
        stated = self.rubric.fields.get(path)
        leaf = next(f for f in leaf_fields(self.output_schema) if f.path == path)
        return (stated.compare if stated else None) or default_compare(leaf)


@dataclass(frozen=True)
class Task:
    """A loaded task. `digest` is the SHA-256 of the canonical spec with schemas inlined; `file` the spec's own file."""

    spec: TaskSpec
    folder: Path
    digest: str
    file: Path

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def output_schema(self) -> dict[str, Any]:
        return self.spec.io_schema.output

    def data_files(self) -> list[tuple[Path, Split | None]]:
        """Data files with the split that each was given for (None: to be split). Relative names are relative to the task folder."""
        return [(self.folder / Path(name).expanduser(), split) for name, split in named_data_files(self.spec)]


def named_data_files(spec: TaskSpec) -> list[tuple[str, Split | None]]:
    """The data files as the spec names them."""
    files = spec.eval_split.files
    if spec.eval_split.strategy != "files" or files is None:
        return [(spec.data, None)]
    named: list[tuple[str | None, Split]] = [(files.train, "train"), (files.val, "val"), (files.test, "test")]
    return [(name, split) for name, split in named if name is not None]


def load_task(name_or_path: str | Path, tasks_dir: Path) -> Task:
    """Load a task by name (a folder in `tasks_dir`), by its folder or by its file. Raises UserError naming file, field, nearest match."""
    file = _find(name_or_path, tasks_dir)
    raw = read_mapping(file)
    spec = parse_spec(_inline(raw, file), str(file))
    if file.parent.parent.resolve() == tasks_dir.resolve() and spec.name != file.parent.name:
        raise UserError(f"{spec.name!r} differs from its folder {file.parent.name!r}", where=f"{file}: name", how="make them equal")
    return Task(spec=spec, folder=file.parent, digest=spec_digest(spec), file=file)


def parse_spec(raw: dict[str, Any], where: str) -> TaskSpec:
    """A TaskSpec from plain values with schemas inlined (as in a package's task_spec.json)."""
    if raw.get("version", 1) != 1:
        raise UserError(f"this release reads version 1, the file says {raw['version']!r}", where=f"{where}: version")
    try:
        return TaskSpec.model_validate(raw)
    except ValidationError as error:
        raise user_error(error, TaskSpec, where) from error


def spec_digest(spec: TaskSpec) -> str:
    """SHA-256 of what the task is; how it is served and renewed is none of it."""
    return digest(spec_values(spec, {"serving", "flywheel"}), ordered=True)


def spec_values(spec: TaskSpec, without: Collection[str]) -> dict[str, Any]:
    """The spec as plain values for a digest. Rules that are not set leave no trace: a package from before there were any stays whole."""
    return spec.model_dump(mode="json", exclude={*without, *(() if spec.validation_rules else ("validation_rules",))})


def list_tasks(tasks_dir: Path) -> list[str]:
    """Names of the folders in `tasks_dir` that hold a task file and whose name is a slug, sorted; archived ones too."""
    if not tasks_dir.is_dir():
        return []
    return sorted(p.name for p in tasks_dir.iterdir() if SLUG.match(p.name) and any((p / name).is_file() for name in FILE_NAMES))


def spec_json_schema() -> dict[str, Any]:
    """JSON Schema of a task file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **TaskSpec.model_json_schema()}


def default_compare(leaf: Leaf) -> Compare:
    """Exact for scalars; for arrays of enums a set, since their order seldom means anything; ordered for other arrays."""
    if leaf.kind == "array_enum":
        return "set"
    return "ordered" if leaf.schema.get("type") == "array" else "exact"


def _find(name_or_path: str | Path, tasks_dir: Path) -> Path:
    text = str(name_or_path)
    by_path = isinstance(name_or_path, Path) or "/" in text or Path(text).suffix in (".yaml", ".yml", ".json")
    place = Path(name_or_path).expanduser() if by_path else tasks_dir / text
    if not by_path and (not SLUG.match(text) or not place.is_dir()):
        raise UserError(f"unknown task {text!r}", where=str(tasks_dir), how=nearest(text, list_tasks(tasks_dir)))
    if place.is_file():
        return place
    found = [place / name for name in FILE_NAMES if (place / name).is_file()]
    if not found:
        raise UserError("no task file here", where=str(place), how=f"'pp task init {place.name}' writes a {FILE_NAMES[0]} to start from")
    if len(found) > 1:
        raise UserError(f"{' and '.join(p.name for p in found)} both stand here", where=str(place), how="keep one of them")
    return found[0]


def _inline(raw: dict[str, Any], file: Path) -> dict[str, Any]:
    """Replace schema file names by what the files hold."""
    schemas = raw.get("io_schema")
    if not isinstance(schemas, dict):
        return raw
    inlined = {}
    for side, value in schemas.items():
        if side in ("input", "output") and isinstance(value, str):
            try:
                value = read_mapping(file.parent / value)
            except UserError as error:
                raise UserError(f"{error.where}: {error.what}", where=f"{file}: io_schema.{side}", how=error.how) from error
        inlined[side] = value
    return raw | {"io_schema": inlined}

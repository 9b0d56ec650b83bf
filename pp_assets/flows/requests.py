"""What may be asked of each flow, field by field; unknown keys are refused. Names of the founding API are taken too."""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from pp_assets.task.spec import ContextType, Exploration, Slug

MOST = 10_000  # rows of one request
Name = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(min_length=1, max_length=100_000)]
Input = Annotated[Text, Field(validation_alias=AliasChoices("input_text", "llm_input"))]
Rows = Annotated[int, Field(ge=1, le=MOST)]
Share = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class OfTask(Strict):
    task: Slug


class ByContract(Strict):
    """By the contract of a task, or by one that is given; that may not call functions of this installation."""

    task: Slug | None = None
    contract: dict[str, Any] | None = Field(default=None, description="a contract as `pp contract` writes it, as JSON")
    judge: bool = Field(default=False, description="ask the provider of this installation, where there is one")

    @model_validator(mode="after")
    def _one(self) -> "ByContract":
        if (self.task is None) == (self.contract is None):
            raise ValueError("give task or contract")
        return self


class GenerateDimensions(OfTask):
    """The contract that a task implies, with what a person changed in its file."""

    judge: bool = Field(default=False, description="let the provider of this installation suggest further questions")
    write: bool = Field(default=False, description="write the task's contract file, as `pp contract generate` does")


class Scored(Strict):
    input_text: Input
    output: Any = Field(validation_alias=AliasChoices("output", "llm_output"), description="a JSON value, or text as a model said it")
    label: Any = Field(default=None, description="the right output, where it is known")


class Score(ByContract):
    outputs: list[Scored] = Field(min_length=1, max_length=MOST)


class Mark(Strict):
    """An output with `score` or `rating`, or two outputs, `chosen` and `rejected`; all of one kind."""

    input_text: Input
    output: Any = Field(default=None, validation_alias=AliasChoices("output", "llm_output"))
    score: Share | None = None
    rating: int | float | str | None = Field(default=None, description="1 to 5, or Strongly disagree … Strongly agree")
    chosen: Any = None
    rejected: Any = None
    label: Any = None


class Calibrate(ByContract):
    marks: list[Mark] = Field(min_length=1, max_length=MOST)
    seed: int = Field(default=0, ge=0, lt=2**32)
    write: bool = Field(default=False, description="write the task's contract file where the calibration is better")

    @model_validator(mode="after")
    def _has_a_file(self) -> "Calibrate":
        if self.write and self.task is None:
            raise ValueError("write needs a task")
        return self


class GenerateSeeds(OfTask):
    """The task's own rows, read, checked and split: those for training. With `topic` what a topic of feedback offers as seeds."""

    num_inputs: Rows = Field(default=1000, description="at most")
    topic: Name | None = Field(default=None, description="a topic of complaints; see /feedback/cluster")


class GenerateFromSeeds(OfTask):
    """New rows from training rows. What is not said is as the task says; with anything said the task's own rows stay as they are."""

    num_inputs: Rows = Field(default=1000, description="at most")
    exploration_mode: Exploration | None = None
    per_seed: int | None = Field(default=None, ge=1, le=100)
    num_shots: int | None = Field(default=None, ge=1, le=50)
    similarity_threshold: float | None = Field(default=None, gt=0.5, le=1)
    themes: list[Name] | None = Field(default=None, max_length=100)
    themes_coverage: Share | None = None
    context_types: list[ContextType] | None = Field(default=None, min_length=1)
    ask_rows: int | None = Field(default=None, ge=0, le=MOST, description="the most requests to a provider")

    @property
    def options(self) -> dict[str, Any]:
        """What differs from the task."""
        return self.model_dump(exclude_none=True, exclude={"task", "num_inputs"})


class Identified(Strict):
    identifier: Name
    input_text: Input


class ClusterInputs(Strict):
    """Topics: of a task's training inputs; with `inputs` beside it the topic of each, nothing is fitted; of `inputs` alone."""

    task: Slug | None = None
    inputs: list[Identified] | None = Field(default=None, min_length=1, max_length=MOST)

    @model_validator(mode="after")
    def _something(self) -> "ClusterInputs":
        if self.task is None and self.inputs is None:
            raise ValueError("give task, inputs or both")
        if self.inputs and len({one.identifier for one in self.inputs}) < len(self.inputs):
            raise ValueError("identifiers stand twice")
        return self


class EvaluateInputs(OfTask):
    """A verdict on each training and generated row; `filter_score` 1 is to be filtered out."""

    kind: Literal["written", "generated"] | None = None
    num_inputs: Rows = Field(default=MOST, description="at most, those to be filtered out first")


class Said(Strict):
    """What somebody says of an answer."""

    identifier: Name
    input_text: Input
    output: Any = Field(default=None, validation_alias=AliasChoices("output", "llm_output"), description="the answer")
    comment: Annotated[str, Field(max_length=100_000)] | None = None
    rating: Literal["positive", "negative"] | None = None
    source: Name = "external"


class ClusterFeedback(OfTask):
    """Topics of what people say: of the feedback that is kept on a task, or of some that is given."""

    feedbacks: list[Said] | None = Field(default=None, min_length=1, max_length=MOST)


class Tune(OfTask):
    """A search of hyper-parameters on training and validation rows. What it finds is put into the task by a person."""

    variant: Slug
    trials: int | None = Field(default=None, ge=1, le=1000)
    minutes: float | None = Field(default=None, ge=0.01, le=10_000, description="no new training after so many minutes of them")


class TunePrompt(OfTask):
    """A search of a prompt on training and validation rows; the one that was chosen is tested. It is put into the task by a person."""

    target: Name = Field(default="base", description="base: the task's language model; else a model by its name")
    writer: Name | None = Field(default=None, description="a model that writes proposals; default: none")
    strategy: Literal["halving", "mipro", "gepa"] = "halving"
    calls: int | None = Field(default=None, ge=1, le=1_000_000, description="model calls of the search, at most")
    tokens: int | None = Field(default=None, ge=1, description="read and written, at most; those of the test with them")
    usd: float | None = Field(default=None, ge=0, description="US dollars, at most; those of the test with them")
    seed: int | None = Field(default=None, ge=0, lt=2**32, description="default: the task's")
    until: Name | None = Field(default=None, description="stop when the best reaches this on validation rows: METRIC>=NUMBER")
    max_tokens: float | None = Field(default=None, ge=0, description="release nothing that takes more tokens an answer")
    max_latency_ms: float | None = Field(default=None, ge=0, description="release nothing that takes longer an answer")
    max_invalid: Share | None = Field(default=None, description="release nothing with a larger share of invalid answers")


class RunInference(OfTask):
    """The answer to one `input` by what is served, at once and kept like any; or to many `inputs` by a packaged variant, default the
    champion, as a job of which nothing is kept as an inference."""

    input: Text | None = Field(default=None, validation_alias=AliasChoices("input", "llm_input"))
    inputs: list[Text] | None = Field(default=None, min_length=1, max_length=MOST)
    variant: Slug | None = None

    @model_validator(mode="after")
    def _one(self) -> "RunInference":
        if (self.input is None) == (self.inputs is None):
            raise ValueError("give input or inputs")
        return self

    @property
    def texts(self) -> list[str]:
        return [self.input] if self.input is not None else self.inputs or []

"""The grammar of a workflow file: every key that may be written, strictly."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MOST_INSTANCES = 100
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
JsonSchema = dict[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


def _listed(value: Any) -> Any:
    """A number of instances as so many empty ones."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= MOST_INSTANCES:
            raise ValueError(f"give 1 to {MOST_INSTANCES} instances")
        return [{} for _ in range(value)]
    return value


def _used(value: Any) -> Any:
    """Functions that are named alone, or whole files of them."""
    return [{"name": one} if isinstance(one, str) else one for one in value] if isinstance(value, list) else value


class Options(_Strict):
    """How a model is asked. `retries`: how often the whole step is tried again when it fails (Dagster's retry policy); `corrections`: how
    often an answer that breaks its schema is asked for again with the error."""

    output_format: Literal["text", "json", "jsonl"] | None = None
    form: JsonSchema | None = Field(default=None, alias="schema")
    model: str | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = Field(default=None, ge=0, lt=2**31)
    retries: int | None = Field(default=None, ge=0, le=20)
    corrections: int | None = Field(default=None, ge=0, le=10)


class PromptPart(_Strict):
    """A piece of a prompt. static: `content`; variable: the value of `name`; previous: the output of `step` (default: the step before),
    or its `field`; file: the text of `path`; component: that of the prompt component `id`."""

    type: Literal["static", "variable", "previous", "file", "component"]
    content: str | None = None
    name: str | None = None
    step: str | None = None
    field: str | None = None
    path: str | None = None
    id: str | None = None


class Instance(_Strict):
    role: str = ""
    prompt_template: str | None = None
    llm: Any = Field(default=None, alias="model_config", description="a model's name, or {model, temperature, max_tokens, seed}")


class FunctionUse(_Strict):
    """A function that the model may call. `arguments` are set here and not asked for; `call` is `module:function` of what is installed."""

    name: str
    description: str = ""
    parameters: dict[str, str | JsonSchema] = {}
    arguments: dict[str, Any] = {}
    call: str | None = None


Functions = Annotated[list[FunctionUse], BeforeValidator(_used)]


class BatchConfig(_Strict):
    test_suite: Any = None
    metrics: list[str] = ["exact_match", "f1_score"]
    scorers: dict[str, str] = Field(default={}, description="custom metrics: name to module:function(output, expected)")
    limit: int | None = Field(default=None, ge=1)


class SessionConfig(_Strict):
    task: str
    batch_size: int = Field(default=20, ge=1, le=1000)
    save_progress: bool = True
    history: int = Field(default=4, ge=0, description="batches before that the model still sees")
    form: JsonSchema | None = Field(default=None, alias="schema", description="of one annotation; default: label and explanation")


class ExtractionConfig(_Strict):
    source: Any
    criteria: str
    format: Literal["json", "jsonl"] = "jsonl"
    chunk: int = Field(default=6000, ge=200, description="characters that are read at once")


class Step(_Strict):
    """One step. Which keys a step may have depends on its mode (`modes.KEYS`)."""

    name: Name
    type: str
    description: str = ""
    role: str = ""
    prompt: str | None = None
    prompt_parts: list[PromptPart] = []
    prompt_template: str | None = None
    variables: dict[str, Any] = {}
    after: list[str] = []
    instances: Annotated[list[Instance], BeforeValidator(_listed)] | None = None
    test_data: Any = None
    options: Options = Options()
    output_file: str | None = None
    output_schema: JsonSchema | None = None
    functions: Functions = []
    claude_functions: Functions = []
    gemini_functions: Functions = []
    batch_config: BatchConfig = BatchConfig()
    session_config: SessionConfig | None = None
    extraction_config: ExtractionConfig | None = None
    error_scenarios: list[str] = []
    augmentation_strategies: list[str] = []


class Defaults(_Strict):
    """What steps have that say nothing else. `workspace_dir`: where output files go; `variables`: values of names that nobody sets;
    `model` goes before the one of a step's type."""

    workspace_dir: str | None = None
    checkpoint_enabled: bool = True
    model: str | None = None
    temperature: float = Field(default=0.0, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**31)
    retries: int = Field(default=0, ge=0, le=20)
    corrections: int = Field(default=2, ge=0, le=10)
    variables: dict[str, Any] = {}


class Workflow(_Strict):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    description: str = ""
    defaults: Defaults = Defaults()
    steps: list[Step] = Field(min_length=1)


class ComponentHead(_Strict):
    """What `component:` of a component file holds. `step` gives a step component's keys, which the step's own go before."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    type: Literal["prompt", "step", "functions"]
    description: str = ""
    template: str | None = None
    supported_metrics: dict[str, list[str]] = {}
    step: dict[str, Any] = {}
    functions: Functions = []


class ComponentFile(_Strict):
    """A component file: a head, or a bare template, or bare functions."""

    component: ComponentHead | None = None
    template: str | None = None
    functions: Functions = []


class Table(_Strict):
    """Which model the first word of a step's type asks, and what its form does (`{model}` stands for that word)."""

    models: dict[str, str] = {}
    modes: dict[str, str] = {}

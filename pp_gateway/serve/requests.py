"""What may be asked, field by field. Unknown keys are refused, but for chat completions, whose callers send what their library knows."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pp_gateway.serve.said import Refused

Name = Annotated[str, Field(min_length=1, max_length=200)]
Id = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]
Tags = Annotated[dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=32)]
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Schema = dict[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Message(_Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: str


class Messages(_Strict):
    """A conversation: its last user message is the task's input; the task's own prompt stands before it."""

    messages: list[Message] = Field(min_length=1)


class Params(_Strict):
    """For remote variants alone."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: Count | None = None
    seed: Seed | None = None


class InferenceRequest(_Strict):
    function_name: Name = Field(description="a task")
    input: str | Messages
    episode_id: Id | None = Field(default=None, description="one variant answers a whole episode; default: a new one")
    variant_name: Name | None = Field(default=None, description="ask this variant and no other")
    stream: bool = False
    dryrun: bool = Field(default=False, description="keep nothing")
    tags: Tags = Field(default_factory=dict)
    subject: Name | None = Field(default=None, description="the person whom the input belongs to")
    params: Params = Params()
    output_schema: Schema | None = Field(default=None, description="a narrower form that the answer must have")


class JsonSchemaFormat(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str = "answer"
    json_schema: Schema = Field(default={}, alias="schema")


class ResponseFormat(BaseModel):
    model_config = ConfigDict(extra="allow")
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None

    @model_validator(mode="after")
    def _whole(self) -> "ResponseFormat":
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("json_schema is missing")
        return self


class ChatMessage(BaseModel):
    model_config = ConfigDict(extra="allow")
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="allow")
    include_usage: bool = False


class ChatRequest(BaseModel):
    """A chat completion. `model` is a task, `task::variant`, or a remote model by its name here; the last five fields are additions."""

    model_config = ConfigDict(extra="allow")
    model: Name
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    n: int | None = Field(default=None, ge=1, le=128)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    seed: Seed | None = None
    user: Name | None = None
    metadata: Tags | None = None
    episode_id: Id | None = None
    variant_name: Name | None = None
    tags: Tags = Field(default_factory=dict)  # a plain default is copied by a function in Python
    subject: Name | None = None
    dryrun: bool = False


class EmbeddingsRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    model: Name
    input: Annotated[str, Field(min_length=1)] | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=256)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)
    user: Name | None = None


class FeedbackRequest(_Strict):
    """About an inference or about an episode. `value` is true or false, a number, the words of a comment (metric_name "comment"), or the
    right output (metric_name "demonstration"; text or JSON)."""

    metric_name: Name
    value: bool | int | float | str | dict[str, Any]
    inference_id: Id | None = None
    episode_id: Id | None = None
    function_name: Name | None = Field(default=None, description="with it a demonstration is checked against the task's schema")
    idempotency_key: Id | None = Field(default=None, description="equal keys are one feedback; also as the header Idempotency-Key")
    supersedes: Id | None = Field(default=None, description="the id of a feedback that this one corrects")
    subject: Name | None = None
    source: Name | None = None
    dryrun: bool = False

    @model_validator(mode="after")
    def _one_target(self) -> "FeedbackRequest":
        if (self.inference_id is None) == (self.episode_id is None):
            raise ValueError("give inference_id or episode_id")
        return self


class Working(_Strict):
    """Somebody works the queue."""

    by: Annotated[str, Field(max_length=100)] = Field(default="", description="who: people of one key give different names")


class NextRequest(Working):
    """`passed` are ids that this person does not want now."""

    task: Name | None = None
    passed: list[Id] = Field(default=[], max_length=200)


class AnswerRequest(Working):
    """`id` is the sender's name for this answer: sent again, it is the same answer."""

    output: Any
    id: Id | None = None


Asking = TypeVar("Asking", bound=BaseModel)


def read(model: type[Asking], body: bytes) -> Asking:
    """A request from its body. Raises Refused naming the field."""
    try:
        made = model.model_validate_json(body)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(map(str, problem["loc"]))
        raise Refused(400, "wrong_request", f"{field}: {problem['msg']}" if field else problem["msg"], param=field or None) from None
    if b"\\u0000" in body and _has_nul(made.model_dump()):
        raise Refused(400, "wrong_request", "a NUL character, which not every store can hold", how="leave it out")
    return made


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(map(_has_nul, (*value, *value.values())))
    return isinstance(value, list) and any(map(_has_nul, value))

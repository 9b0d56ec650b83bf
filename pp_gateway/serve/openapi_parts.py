"""What the parts of the OpenAPI document are made of: refusals, operations, and the commonest words of JSON Schema."""

from typing import Any

Schema = dict[str, Any]
STREAM = "text/event-stream"
ERRORS = {
    "400": "the request is at fault",
    "401": "the key is missing or wrong",
    "403": "asked by another name than that of this machine",
    "404": "no such task, variant or model",
    "413": "too large",
    "415": "not JSON",
    "429": "too many requests; see Retry-After",
    "500": "a model has failed",
    "502": "a remote model has failed",
    "503": "overloaded, or nothing can be kept; see Retry-After",
    "504": "no answer in time",
}
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}


def maybe(schema: Schema) -> Schema:
    """The same, or null."""
    return schema | {"type": [schema["type"], "null"]} if "type" in schema else {"anyOf": [schema, {"type": "null"}]}


def listed(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def by_name(values: Schema) -> Schema:
    """An object whose keys are names."""
    return {"type": "object", "additionalProperties": values}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def object_(**properties: Schema) -> Schema:
    """All of them are always there."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def event(data: Schema | None = None) -> Schema:
    """One of server-sent events, by the schema of the JSON in it where that is always the same: before OpenAPI 3.2 the schema of a stream
    describes each of them."""
    inside = {} if data is None else {"contentMediaType": "application/json", "contentSchema": data}
    return object_(data=TEXT | inside)


def path(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": TEXT}


def query(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def content(schema: Schema, kind: str = "application/json") -> Schema:
    return {kind: {"schema": schema}}


def post(
    model: str, answer: Schema, summary: str, *, openai: bool = False, events: bool = False, more: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A request that is the schema `model`."""
    found = content(answer) | (content(event(), STREAM) if events else {})
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": content(ref(model))},
        "responses": {"200": {"description": "done", "content": found}} | errors(openai, (*ERRORS, *more)),
    }


def get(
    summary: str,
    answer: Schema,
    *,
    openai: bool = False,
    free: bool = False,
    kind: str = "application/json",
    parameters: tuple[Schema, ...] = (),
) -> dict[str, Any]:
    """`free` asks for no key."""
    asked = ("400",) if any(one["in"] == "query" for one in parameters) else ()
    refused = ("503",) if free else (*asked, "401", "403", "404", "429", "503")
    found = {"summary": summary, "responses": {"200": {"description": "done", "content": content(answer, kind)}} | errors(openai, refused)}
    return found | ({"parameters": list(parameters)} if parameters else {}) | ({"security": []} if free else {})


def errors(openai: bool, statuses: tuple[str, ...]) -> dict[str, Any]:
    """Responses that are refusals."""
    words = ERRORS | {"409": "taken by another", "411": "the request does not say how large it is"}
    words |= {"422": "no answer has the form that was asked for"}
    refused = content(ref("OpenAIError" if openai else "Error"))
    return {status: {"description": words[status], "content": refused} for status in statuses}

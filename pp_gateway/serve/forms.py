"""Forms that a caller asks an answer to have: JSON Schemas, checked before they are used, compiled once."""

from functools import lru_cache
from typing import Any

import orjson
from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator
from jsonschema.validators import validator_for

from pp_gateway.serve.said import Refused
from pp_resources.json_schema import output_validator

MOST_BYTES = 64 << 10


def form_of(schema: dict[str, Any] | None, param: str = "output_schema") -> Validator | None:
    """A validator, None for no schema. Raises Refused for what is no sound schema of reasonable size."""
    if schema is None:
        return None
    try:
        text = orjson.dumps(schema)
    except TypeError as error:
        raise Refused(400, "wrong_schema", f"the schema cannot be read: {error}", param=param) from None
    if len(text) > MOST_BYTES:
        raise Refused(413, "schema_too_long", f"the schema has {len(text)} bytes, more than {MOST_BYTES}", param=param)
    made = _compiled(text)
    if isinstance(made, str):
        raise Refused(400, "wrong_schema", made, param=param)
    return made


@lru_cache(maxsize=256)
def _compiled(text: bytes) -> Validator | str:
    """The validator, or what is wrong with the schema."""
    schema = orjson.loads(text)
    if not _local(schema):
        return "a $ref to another document"
    try:
        validator_for(schema, default=output_validator({}).__class__).check_schema(schema)
    except SchemaError as error:
        return f"no JSON Schema: {error.message[:300]}"
    except (RecursionError, TypeError, ValueError, LookupError) as error:
        return f"no JSON Schema: {error}"[:300]
    return output_validator(schema)


def _local(node: Any) -> bool:
    """Whether all references stay in the document: nothing is ever fetched."""
    if isinstance(node, list):
        return all(map(_local, node))
    if not isinstance(node, dict):
        return True
    if any(not str(node.get(name, "#")).startswith("#") for name in ("$ref", "$dynamicRef", "$recursiveRef")):
        return False
    return all(map(_local, node.values()))


def fits(form: Validator, value: Any) -> bool:
    """Whether a value has the form. Raises Refused where the form itself cannot be followed: a loop, or a pattern that is none."""
    try:
        return form.is_valid(value)
    except Exception as error:  # what a validator stumbles over has no common parent
        raise Refused(400, "wrong_schema", f"the schema cannot be followed: {error}"[:300]) from None

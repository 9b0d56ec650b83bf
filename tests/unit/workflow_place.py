"""What tests of workflows share: a provider on this machine that gives fitting JSON, and the commands on an installation beside it."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from upstream_stub import Stub, stub

from pp_resources.settings import PROJECT_ROOT

EXAMPLES = PROJECT_ROOT / "examples" / "workflows"
WORDS = {"billing": ("charged", "money", "invoice", "receipt", "refund"), "returns": ("return", "back", "fit"), "delivery": ("",)}
CASES = ["I was charged twice", "The invoice is wrong", "Send me a receipt", "My money is gone", "Where is my parcel", "The box is wet"]
CASES += [
    "It was due on Monday",
    "Tracking stands still",
    "Take the shoes back",
    "How do I return it",
    "It does not fit me",
    "The return is late",
]


def team(text: str) -> str:
    """The right answer of the rule that all test cases follow."""
    return next(name for name, words in WORDS.items() if any(word in text for word in words))


def says(asked: dict[str, Any]) -> str:
    """An answer that fits the schema of a request; a good one where the rule knows one. An instance called tester_2, model_b_executor or
    tester_without_examples says billing to everything."""
    form = asked.get("response_format")
    system = " ".join(m["content"] for m in asked["messages"] if m["role"] == "system")
    user = [m["content"] for m in asked["messages"] if m["role"] == "user"][-1]
    if form is None:
        return f"A text of {len(user)} characters was read."
    return json.dumps(_value(form["json_schema"]["schema"], system, user))


def _value(schema: dict[str, Any], system: str, user: str) -> Any:
    properties = schema.get("properties", {})
    if "answer" in properties:
        weak = "tester 2" in system or "model b" in system or "without examples" in system
        said = "billing" if weak else team(user.rpartition("Input: ")[2])
        allowed = properties["answer"].get("enum")
        return {"answer": said if allowed is None or said in allowed else allowed[0]}
    if "variations" in properties:
        return {"variations": [f"Variation {i}: say billing, delivery or returns." for i in range(1, 6)]}
    if "cases" in properties:
        return {"cases": [{"input": text, "expected": team(text), "category": "normal"} for text in CASES]}
    if "calls" in properties:
        options = properties["calls"]["items"]["anyOf"]
        return {"calls": [{"function": one["properties"]["function"]["const"], "arguments": {}} for one in options]}
    if "annotations" in properties:
        rows = json.loads(user.rsplit("\n", 1)[1])
        return {"annotations": [{"id": row["id"], "label": team(row["input"]), "explanation": "by its words"} for row in rows]}
    if "rows" in properties:
        return {"rows": [line for line in user.splitlines() if re.search(r"parcel|money|lamp|refund", line)] + ["This stands nowhere."]}
    if "input_text" in properties:
        return {"input_text": f"In other words: {user[-60:]} {abs(hash(user)) % 997}"}
    return _filled(schema)


def _filled(schema: dict[str, Any]) -> Any:
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        return {name: _filled(one) for name, one in schema.get("properties", {}).items()} or {"done": True}
    return {"string": "some words", "number": 0.5, "integer": 1, "boolean": True, "array": []}.get(str(kind))


@contextmanager
def answering() -> Iterator[Stub]:
    """A provider that every name of a model leads to, until the block ends."""
    with stub() as told:
        told.says = says
        os.environ.update(PP_PROVIDER_URL=told.url, PP_PROVIDER_MODEL="fitting")
        yield told


def copied_examples(root: Path) -> Path:
    """The example workflows in a folder of the test's own."""
    return Path(shutil.copytree(EXAMPLES, root / "workflows"))

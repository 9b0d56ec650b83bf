"""New task folders: a small one that works and that a user edits, and one that points at data files that are already there."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from pp_assets.task.schema_check import schema_fault
from pp_assets.task.spec import load_task
from pp_assets.task.spec_file import read_mapping
from pp_resources.artifacts import SLUG
from pp_resources.errors import UserError, nearest

_TASK = """\
# A task: what goes in, what must come out, and how we know that it is right. Check it with: pp task check {name}
version: 1
name: {name}
description: Route a customer's message

# The models to specialise: a hub id, a local folder, or the small base that ships with PromptPrecision.
base_model_id: promptprecision/tiny-base

# What the model reads. {{{{ input_text }}}} must stand exactly once; {{{{ schema }}}}, {{{{ labels }}}} and {{{{ examples }}}} may be used.
system_prompt: You route messages of customers.
instruction_template: |
  Answer with one JSON object of three fields.
  - team: billing (charges, refunds, invoices), delivery (parcels on their way) or returns (what goes back).
  - urgent: true where it cannot wait until tomorrow, else false.
  - order_id: the number of the order as it is written, or null.
  {{{{ examples }}}}Message: {{{{ input_text }}}}

# What must come out, as JSON Schema. x-verbatim: the value is copied from the input, letter for letter.
io_schema:
  output:
    type: object
    additionalProperties: false
    required: [team, urgent, order_id]
    properties:
      team: {{type: string, enum: [billing, delivery, returns]}}
      urgent: {{type: boolean}}
      order_id: {{type: [string, "null"], minLength: 1, x-verbatim: true}}

# One line an example: {{"input_text": ..., "output_json": ..., "source_id": ...}}. Lines with one source_id stay in one split.
data: data.jsonl
eval_split: {{strategy: random, seed: 0}}

# What to train (pp task check says which fit), what decides, and what must hold before a model ships.
variants: [encoder-lora, lora-r8]
primary_metric: {{name: object_exact_match, min_effect: 0.0}}
gates:
  - {{metric: schema_valid_rate, op: ">=", value: 0.99}}
"""

_ROWS = [
    ("Where is my parcel? Order A-1042 was due on Monday.", "delivery", False, "A-1042"),
    ("You charged my card twice this month, please sort it out today!", "billing", True, None),
    ("I'd like to send back the blue kettle from B-2210, it leaks.", "returns", False, "B-2210"),
    ("The driver left C-7781 in the rain and everything inside is ruined. I need it for tomorrow.", "delivery", True, "C-7781"),
    ("Could you email me the invoice for A-3310?", "billing", False, "A-3310"),
    ("How long do I have to return a jacket that does not fit?", "returns", False, None),
    ("still nothing at the door and the tracking page is dead", "delivery", False, None),
    ("My refund never arrived and the rent is due. Call me NOW.", "billing", True, None),
    ("Wrong size again. D-0415 goes back, where do I print the label", "returns", False, "D-0415"),
    ("Please change the address for order A-9907 before it ships this afternoon.", "delivery", True, "A-9907"),
    ("Why is VAT shown twice on my receipt?", "billing", False, None),
    ("The glass arrived broken, cut my hand, I want it collected at once (order B-5530)", "returns", True, "B-5530"),
]
_TEMPLATE = """\
instruction_template: |
  Answer with one JSON object that fits this schema: {{ schema }}
  {{ examples }}Text: {{ input_text }}
"""


def init_task(name: str, tasks_dir: Path) -> Path:
    """Write a small task that passes its own check; returns the folder. Raises UserError for a name that is taken or no slug."""
    _check_name(name)
    lines = (
        json.dumps({"input_text": text, "output_json": {"team": team, "urgent": urgent, "order_id": order}}, ensure_ascii=False)
        for text, team, urgent, order in _ROWS
    )
    # A slug such as 2024 or null is text only in quotes.
    quoted = name if yaml.safe_load(name) == name else json.dumps(name)
    return _write(name, tasks_dir, {"task.yaml": _TASK.format(name=quoted), "data.jsonl": "".join(f"{line}\n" for line in lines)})


def import_task(name: str, tasks_dir: Path, schema_file: Path, train: Path, test: Path, val: Path | None = None) -> Path:
    """Write a task whose given splits are data files elsewhere, by absolute path: they are read there and not copied.

    The output schema is copied. Returns the folder; raises UserError for a missing file or a schema that is none.
    """
    files = {"train": train, "test": test} | ({"val": val} if val else {})
    for split, path in files.items():
        if not path.is_file():
            known = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
            raise UserError(f"no such file: {path}", where=split, how=nearest(path.name, known))
    schema = read_mapping(schema_file)
    fault = schema_fault(schema, output=True)
    if fault:
        raise UserError(fault.what, where=f"{schema_file}: {fault.at}".removesuffix(": "), how=fault.how)
    head = {"version": 1, "name": name, "description": str(schema.get("description", ""))}
    data = {"strategy": "files", "files": {split: str(path.resolve()) for split, path in files.items()}}
    text = _yaml(head) + _TEMPLATE + _yaml({"io_schema": {"output": "output.schema.json"}, "eval_split": data})
    return _write(name, tasks_dir, {"task.yaml": text, "output.schema.json": json.dumps(schema, indent=1, ensure_ascii=False) + "\n"})


def _yaml(values: dict[str, Any]) -> str:
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)


def _write(name: str, tasks_dir: Path, files: dict[str, str]) -> Path:
    """All files or none: written aside, loaded once as a proof, then renamed into place."""
    _check_name(name)
    target = tasks_dir / name
    if target.exists():
        raise UserError(f"{target} is there already", where=f"task {name!r}", how="choose another name, or edit that one")
    tasks_dir.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".new-", dir=tasks_dir))
    try:
        (work / name).mkdir()
        for file, text in files.items():
            (work / name / file).write_text(text, "utf-8")
        load_task(work / name, work)
        (work / name).rename(target)
    finally:
        shutil.rmtree(work)
    return target


def _check_name(name: str) -> None:
    if not SLUG.match(name):
        raise UserError(f"{name!r} is not a name", where="task", how="use lower-case letters, digits, '.', '_' and '-'")

"""Writes a small task folder: what the graph and live tests run on."""

import json
import random
from pathlib import Path

TASK = """
version: 1
name: {name}
instruction_template: "{{{{ schema }}}} {{{{ input_text }}}}"
io_schema:
  output:
    type: object
    additionalProperties: false
    required: [kind, order]
    properties:
      kind: {{enum: [billing, delivery, returns]}}
      order: {{type: [string, "null"], x-verbatim: true}}
eval_split: {{strategy: group, ratios: {{train: 0.6, val: 0.15, test: 0.25}}}}
variants: [encoder-frozen]
{more}
"""
SAID = {
    "billing": ["you took the money twice", "my card was charged again", "the invoice is wrong", "refund the second payment"],
    "delivery": ["the parcel never came", "where is the driver", "the box arrived wet", "it says delivered and is not"],
    "returns": ["i want to send it back", "the label does not print", "the wrong size, please swap", "how do i return this"],
}


def write_task(tasks: Path, name: str, *, rows: int = 96, more: str = "") -> Path:
    """A task folder with varied short messages, four to a group."""
    rng = random.Random(name)
    folder = tasks / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "task.yaml").write_text(TASK.format(name=name, more=more))
    lines = []
    for i in range(rows):
        kind = rng.choice(sorted(SAID))
        order = f"{rng.choice('ABC')}-{rng.randrange(1000, 9999)}" if i % 3 else None
        opening = rng.choice(["hello,", "hi team", "good morning.", "well", "listen:", "dear shop,"])
        end = rng.choice(["thanks", "please hurry!", "since monday", "for my mother", "in room 5", "again and again", "asap"])
        text = f"{opening} {rng.choice(SAID[kind])} {f'order {order}' if order else ''} {end} {rng.choice(['', 'ok?', 'bye', 'best, Al'])}"
        lines.append({"input_text": text.strip(), "output_json": {"kind": kind, "order": order}, "source_id": f"g{i // 4}"})
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return folder

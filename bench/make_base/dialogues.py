"""Real rows: turns of the Schema-Guided Dialogue data with the fields that people marked in them, or the state of the talk so far.

Two services are never trained on, nor any other turn of a dialogue in which one of them occurs: they measure a family never seen.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from bench.make_base.texts import UNSEEN, read_rows

FILE = "instruct_sgd_json.jsonl.gz"
SOURCE = ("Schema-Guided Dialogue by Google (train part)", "CC BY-SA 4.0", "dialogues, with their marked fields as JSON")
# Held-out service: fields by which its rows are known, fields of its task (all copied from the turn, or null), its intents.
HELD_OUT: dict[str, tuple[set[str], list[str], set[str]]] = {
    "car_rental": (
        {"pickup_location", "dropoff_date", "pickup_date", "pickup_city", "car_name", "car_type", "pickup_time"},
        ["pickup_city", "pickup_location", "pickup_date", "pickup_time", "dropoff_date", "car_name", "total_price"],
        {"GetCarsAvailable", "ReserveCar"},
    ),
    "homes": (
        {"property_name", "rent", "number_of_beds", "number_of_baths", "furnished", "visit_date", "area"},
        ["property_name", "address", "rent", "visit_date", "area", "phone_number"],
        {"FindApartment", "ScheduleVisit"},
    ),
}
NULLS = [" Use null for what is not said.", " Missing fields are null.", " null if absent.", ""]


@dataclass(frozen=True)
class Dialogues:
    """`train`: (instruction, input, answer). `held`: by service, (dialogue, input, answer) with all fields of its task."""

    train: tuple[tuple[str, str, dict[str, Any]], ...]
    held: dict[str, tuple[tuple[str, str, dict[str, Any]], ...]]

    def draw(self, r: Random, lead: str) -> tuple[str, str, dict[str, Any]]:
        """A row; half of the time with another instruction, which asks for some of the fields in another order."""
        instruction, text, answer = r.choice(self.train)
        if "intent" in answer or r.random() < 0.5:
            return instruction, text, answer
        keys = r.sample(list(answer), r.randint(1, len(answer)))
        return f"{lead}: {', '.join(keys)}.{r.choice(NULLS)}", text, {key: answer[key] for key in keys}


def load_dialogues(corpus: Path) -> Dialogues:
    """Raises UserError when the file is missing."""
    rows = [(row, json.loads(row["output"])) for row in read_rows(corpus / FILE)]
    services = {name: {_dialogue(row) for row, answer in rows if _of(answer, *HELD_OUT[name])} for name in HELD_OUT}
    out = set().union(*services.values())
    train = tuple(
        (_compact(row["instruction"]), row["input"], answer)
        for row, answer in rows
        if _dialogue(row) not in out and not UNSEEN.search(row["instruction"] + row["input"])
    )
    return Dialogues(train, {name: tuple(_held_rows(rows, *HELD_OUT[name][:2])) for name in HELD_OUT})


def _held_rows(
    rows: list[tuple[dict[str, Any], dict[str, Any]]], known: set[str], fields: list[str]
) -> list[tuple[str, str, dict[str, Any]]]:
    """Single turns that say at least two of the fields, and nothing of another service."""
    found = {}
    for row, answer in rows:
        said = {key: value for key, value in answer.items() if value is not None}
        if row["meta"]["kind"] == "span" and len(said) >= 2 and said.keys() & known and said.keys() <= set(fields):
            found[row["input"]] = (_dialogue(row), row["input"], {key: said.get(key) for key in fields})
    return list(found.values())


def _of(answer: dict[str, Any], known: set[str], _fields: list[str], intents: set[str]) -> bool:
    return bool(known & answer.keys()) or answer.get("intent") in intents


def _dialogue(row: dict[str, Any]) -> str:
    return str(row["meta"]["id"].split("-")[0])


def _compact(instruction: str) -> str:
    """The same instruction with its schema, where it has one, written without spaces."""
    head, mark, schema = instruction.partition("JSON Schema: ")
    return head + mark + json.dumps(json.loads(schema), ensure_ascii=False, separators=(",", ":")) if mark else instruction

"""Procedural instruction tasks: a system line, an instruction that names the keys, an input text, and the compact JSON answer.

Everything is a pure function of a `random.Random`, so that a step's batch depends on the seed and the step number only.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from bench.make_base import fields as f
from bench.make_base import kinds
from bench.make_base import words as w

SYSTEMS = [
    "",
    "",
    "You answer with JSON only.",
    "You read messages and fill in a form.",
    "You are a careful assistant. Answer with one JSON object.",
    "You extract facts from text.",
    "You sort the mail of a company.",
    "Copy names and numbers exactly as they are written.",
    "You are a helpful assistant.",
]
LEADS = [
    "Read the message and return JSON with these keys",
    "Extract the following fields",
    "Fill in the form",
    "Answer with a JSON object that has these keys",
    "Return compact JSON. Keys",
    "From the text below take",
    "Turn the message into JSON with",
    "Find these facts",
    "Give me JSON with the keys",
]
RULES = [
    "Use null when it is not said.",
    "If something is missing, write null.",
    "Copy the words exactly.",
    "Write nothing else.",
    "Absent values are null.",
    "Keep the order of the keys.",
    "Do not explain.",
]
INPUT_HEADS = ["Input:\n", "Text:\n", "Message:\n", "Message: ", "Input: ", "", "### Input\n", "Text: ", "Email:\n"]
ANSWER_HEADS = ["JSON:\n", "Answer:\n", "Output:\n", "### Output\n", "", "Result:\n", "JSON:\n"]

Row = tuple[str, str, str, str]  # before the input, input, after it (ends in a line end), answer


@dataclass(frozen=True)
class Task:
    """Text before the input, text after it, and the fields; `nested` groups the keys of an inner object; `filler` draws sentences that
    say nothing that was asked."""

    before: str
    after: str
    fields: tuple[f.Field, ...]
    nested: tuple[str, ...]
    noise: float
    filler: Callable[[Random], str]

    def draw(self, r: Random) -> tuple[str, dict[str, Any]]:
        """One (input text, answer) of this task."""
        answer: dict[str, Any] = {}
        said: list[str] = []
        for field in self.fields:
            value, sentences = field.sample(r)
            said += sentences
            target = answer.setdefault(self.nested[0], {}) if field.key in self.nested[1:] else answer
            target[field.key] = value
        return write(r, said, self.noise, self.filler), answer


def task(r: Random, draw_field: Callable[[Random], f.Field], filler: Callable[[Random], str]) -> Task:
    """A new task of 1 to 5 fields."""
    used: set[str] = set()
    fields = []
    for _ in range(r.choice([1, 1, 2, 2, 2, 3, 3, 4, 5])):
        field = draw_field(r)
        second_topic = field.text.startswith("the topic") and any(x.text.startswith("the topic") for x in fields)
        if field.key not in used and not second_topic:
            used.add(field.key)
            fields.append(field)
    nested: tuple[str, ...] = ()
    if len(fields) >= 3 and r.random() < 0.12:
        first = r.randrange(len(fields) - 1)
        outer = next(k for k in iter(lambda: f.random_key(r), None) if k not in used)
        nested = (outer, *(x.key for x in fields[first : first + 2]))
    before, after = frame(r, fields, nested)
    made = Task(before, after, tuple(fields), nested, r.choice([0.0, 0.0, 0.0, 0.05, 0.15]), filler)
    if r.random() < 0.1:
        shown = "".join(f"{text}\n{dump(answer)}\n\n" for text, answer in (made.draw(r) for _ in range(r.randint(1, 2))))
        made = replace(made, before=f"{before}Examples:\n{shown}")
    return made


def one_field(r: Random, held_out: bool = False) -> f.Field:
    """A field of any kind; with `held_out` one that copies a string of a kind that training never sees."""
    kind = r.random()
    if held_out or kind < 0.5:
        copy = r.choice(kinds.HELD_OUT if held_out else kinds.COPIES)
        return f.copy_field(r, f.key_of(r, copy[0]), copy, nullable=r.random() < 0.6)
    if kind < 0.58:
        count = r.choice(kinds.COUNTS)
        return f.count_field(f.key_of(r, count[0]), count, nullable=r.random() < 0.4)
    if kind < 0.67:
        return f.list_field(r, f.key_of(r, ["items", "list", "products", "names", "mentions", "all"]))
    if kind < 0.82:
        return f.theme_field(r, f.key_of(r, ["category", "topic", "label", "intent", "type", "department", "class"]), many=False)
    if kind < 0.86:
        return f.theme_field(r, f.key_of(r, ["topics", "tags", "labels"]), many=True)
    rare = f.random_key(r) if r.random() < 0.3 else None
    return f.scale_field(r, rare) if kind < 0.94 else f.flag_field(r, rare)


def frame(r: Random, fields: list[f.Field], nested: tuple[str, ...]) -> tuple[str, str]:
    """(before, after): system line, instruction in one of four styles, heads around the input. `after` ends in a newline."""
    outer = f" (inside {nested[0]})" if nested else ""
    inside = {x.key: outer if x.key in nested[1:] else "" for x in fields}
    style = r.choice([0, 0, 0, 0, 1, 1, 2, 2, 3])
    if style == 0:
        bare = r.random() < 0.5  # keys that speak for themselves need no description
        named = {x.key: x.key if bare and x.natural else f"{x.key}{inside[x.key]} = {x.text}" for x in fields}
        body = r.choice(LEADS) + ": " + ", ".join(named.values()) + "."
    elif style == 1:
        body = r.choice(LEADS) + ":\n" + "\n".join(f"- {x.key}{inside[x.key]}: {x.text}{or_null(x)}" for x in fields)
    elif style == 2:
        body = r.choice(LEADS) + ":\n" + "\n".join(f"{x.key}{inside[x.key]} ({type_name(x)}): {x.text}" for x in fields)
    else:
        body = r.choice(["Answer with JSON that follows this schema:\n", "Schema: ", "Output schema:\n"]) + dump(schema(fields, nested))
        if r.random() < 0.5:
            body = r.choice(LEADS) + ".\n" + body
    if r.random() < 0.5:
        body += r.choice([" ", "\n"]) + r.choice(RULES)
    system = r.choice(SYSTEMS)
    before = (f"{system}\n\n" if system else "") + body + "\n\n" + r.choice(INPUT_HEADS)
    return before, r.choice(["\n", "\n\n"]) + r.choice(ANSWER_HEADS)


def or_null(field: f.Field) -> str:
    return " or null" if "null" in field.schema["type"] else ""


def type_name(field: f.Field) -> str:
    if "enum" in field.schema:
        return "enum"
    kind = field.schema["type"]
    return kind if isinstance(kind, str) else " or ".join(kind)


def schema(fields: list[f.Field], nested: tuple[str, ...]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for x in fields:
        entry = dict(x.schema) if "enum" in x.schema and "(" not in x.text else {**x.schema, "description": x.text}
        if x.key in nested[1:]:
            made.setdefault(nested[0], {"type": "object", "properties": {}})["properties"][x.key] = entry
        else:
            made[x.key] = entry
    return {"type": "object", "properties": made, "required": list(made)}


def write(r: Random, said: list[str], noise: float, filler: Callable[[Random], str]) -> str:
    """An input text: the sentences in some order among others, with typos in a share `noise` of the words."""
    parts = [*said, *(filler(r) for _ in range(r.choice([0, 0, 0, 1, 1, 2, 4])))]
    r.shuffle(parts)
    if r.random() < 0.35:
        parts.insert(0, r.choice(w.GREETINGS))
    if r.random() < 0.3:
        parts.append(r.choice(w.CLOSINGS))
    glue = r.choice([" ", " ", " ", "\n", ", ", " - "])
    text = glue.join(parts) or r.choice(w.GREETINGS)
    if noise:
        text = " ".join(typo(r, x) if x.isalpha() and x.islower() and r.random() < noise else x for x in text.split(" "))
    return text.lower() if not any(map(str.isupper, "".join(said))) and r.random() < 0.2 else text


def typo(r: Random, word: str) -> str:
    if len(word) < 4:
        return word
    i = r.randrange(1, len(word) - 2)
    return r.choice([word[:i] + word[i + 1 :], word[:i] + word[i + 1] + word[i] + word[i + 2 :], word[:i] + word[i] + word[i:]])


def filler(r: Random) -> str:
    """A sentence that says nothing that any field asks for."""
    n, v, a, p, d = (
        (lambda: r.choice(w.NOUNS)),
        (lambda: r.choice(w.VERBS)),
        (lambda: r.choice(w.COMMON_ADJ)),
        (lambda: r.choice(w.PREPS)),
        (lambda: r.choice(w.ADVERBS)),
    )
    who = r.choice(["I", "we", "they", "he", "she", "you", f"the {n()}", f"my {n()}", f"our {n()}"])
    made = r.choice(
        [
            lambda: f"{who} {v()} the {a()} {n()} {p()} the {n()}",
            lambda: f"{who} {v()} {d()} and {v()} a {n()}",
            lambda: f"the {n()} was {a()} {d()}",
            lambda: f"{who} {d()} {v()} {p()} the {n()}",
            lambda: f"it was {a()} that the {n()} {v()}",
            lambda: f"can you {r.choice(['see', 'find', 'check', 'tell'])} the {n()} {p()} my {n()}",
            lambda: f"there is a {a()} {n()} {p()} it",
            lambda: f"{who} {v()} that the {n()} is not {a()}",
            lambda: f"as you know the {n()} {v()} {p()} a {a()} {n()}",
        ]
    )()
    return (made[0].upper() + made[1:] if r.random() < 0.8 else made) + r.choice([".", ".", ".", "!", "?", "", " ..."])


def copy_drill(r: Random) -> Row:
    """The plainest copying: key and value pairs in, the asked ones out."""
    pairs: dict[str, str] = {}
    for _ in range(r.choice([1, 2, 2, 3, 3, 4, 6])):
        pairs[f.random_key(r)] = r.choice(kinds.COPIES)[2](r)
    asked = r.sample(list(pairs), r.randint(1, len(pairs)))
    style = r.choice(["{}: {}", "{} = {}", "{} is {}", "the {} is {}"])
    text = r.choice(["\n", "; ", ". "]).join(style.format(k, v) for k, v in pairs.items())
    before = f"{r.choice(LEADS)}: {', '.join(asked)}\n\n{r.choice(INPUT_HEADS)}"
    return before, text, "\n" + r.choice(ANSWER_HEADS), dump({k: pairs[k] for k in asked})


def example(r: Random, drill: float, held_out: bool = False) -> Row:
    """Of the kinds of values listed here; a share `drill` of the examples are copy drills."""
    if not held_out and r.random() < drill:
        return copy_drill(r)
    return row(r, task(r, lambda r: one_field(r, held_out), filler))


def row(r: Random, made: Task) -> Row:
    text, answer = made.draw(r)
    return made.before, text, made.after if made.after.endswith("\n") else made.after + "\n", dump(answer)


def dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

"""A strong model with known truth: it answers a task's rows well except where hidden rules apply that its prompt does not tell, and it
writes prompts that tell some of the rules whose rows it is shown.

It is asked by messages alone, as any other model, by our optimiser and by DSPy's. Answers to the same messages are the same. Only the
standard library and numpy are needed, so that the peers' own environment can import it.
"""

import hashlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, NamedTuple

SHARED = 0.7  # of the luck of an answer that is the item's own, whatever the prompt
SHOWN, FAILED, KEPT = 0.06, 0.35, 0.95  # chance to find a rule by a row that is shown, by one with its wrong answer, to keep a known one
WORDS, FADE = 400, 0.0004  # from so many words of a prompt without its examples on, every further word costs so much
_STARTS = 12  # characters by which texts are looked up
_WORD = re.compile(r"[a-z]{4,}")
_BEGINS = re.compile(r"(?<![^\s\"'>])\S")


class Row(NamedTuple):
    text: str
    output: dict[str, Any]


class Answer(NamedTuple):
    text: str
    tokens_in: int
    tokens_out: int


@dataclass(frozen=True)
class Rule:
    """Rows whose text holds `cue` are answered wrongly in `field` with chance `harm`, unless the prompt tells the rule."""

    cue: str
    field: str
    harm: float

    @property
    def sentence(self) -> str:
        return f"Where a text says '{self.cue}', do not let that word decide {self.field}."

    def told(self, prompt: str) -> bool:
        return self.sentence in prompt


@dataclass
class World:
    """`rows` are all rows of a task, held-out ones too; `words` its own prompt. Without `gain` no rule, no example and no length of a
    prompt matters: what another prompt changes is luck."""

    rows: Sequence[Row]
    words: str
    seed: int
    gain: bool = True
    skill: float = 0.9
    count: int = 6  # rules
    rules: list[Rule] = field(init=False)

    def __post_init__(self) -> None:
        rng = random.Random(f"world {self.seed}")
        self._fields = sorted({name for row in self.rows for name in row.output})
        self._pool = {name: sorted({json.dumps(row.output.get(name)) for row in self.rows}) for name in self._fields}
        changing = [name for name in self._fields if len(self._pool[name]) > 1]
        seen: dict[str, int] = {}
        for row in self.rows:
            for word in set(_WORD.findall(row.text.lower())):
                seen[word] = seen.get(word, 0) + 1
        # Cues that a twentieth to a sixth of the rows have, so that some are among few training rows.
        cues = sorted(word for word, n in seen.items() if 0.05 <= n / len(self.rows) <= 0.17)
        chosen = rng.sample(cues, min(self.count, len(cues)))
        self.rules = [Rule(cue, rng.choice(changing), rng.uniform(0.4, 0.9)) for cue in chosen] if self.gain else []
        self._by_start: dict[str, list[tuple[int, str]]] = {}  # also as they stand in JSON
        for i, row in enumerate(self.rows):
            for text in {row.text, json.dumps(row.text)[1:-1], json.dumps(row.text, ensure_ascii=False)[1:-1]}:
                self._by_start.setdefault(text[:_STARTS], []).append((i, text))
        self._of_row = [[rule for rule in self.rules if rule.cue in row.text.lower()] for row in self.rows]

    def found(self, text: str) -> list[tuple[int, int, int]]:
        """(row, begin, end) of the rows whose texts occur, in order; of texts that begin at one place the longest."""
        made: list[tuple[int, int, int]] = []
        for place in _BEGINS.finditer(text):
            at = place.start()
            if made and at < made[-1][2]:
                continue
            here = [(len(one), i) for i, one in self._by_start.get(text[at : at + _STARTS], ()) if text.startswith(one, at)]
            if here:
                size, i = max(here)
                made.append((i, at, at + size))
        return made

    def answer(self, messages: Sequence[Mapping[str, str]], *, seed: int = 0, temperature: float = 0.0) -> dict[str, Any]:
        """What it says of the last row in the messages; nothing where there is none."""
        whole = "\n".join(m["content"] for m in messages)
        places = self.found(whole)
        if not places:
            return {}
        row = places[-1][0]
        shown = {i for i, *_ in places[:-1]} - {row}
        sure = self.skill
        if self.gain:
            sure += 0.01 * min(4, len(shown))
            words = len(whole.split()) - sum(len(whole[begin:end].split()) for _, begin, end in places)
            sure -= FADE * max(0, words - WORDS)
        blamed: str | None = None
        for rule in self._of_row[row]:
            if not rule.told(whole):
                # An example of the rule tells half of it.
                sure *= 1 - rule.harm * (0.5 if any(rule in self._of_row[i] for i in shown) else 1.0)
                blamed = blamed or rule.field
        luck = SHARED**0.5 * _normal(f"{self.seed} item {self.rows[row].text}")
        sampled = f" {seed}" if temperature else ""
        luck += (1 - SHARED) ** 0.5 * _normal(f"{self.seed} {whole}{sampled}")
        truth = dict(self.rows[row].output)
        if NormalDist().cdf(luck) < sure:
            return truth
        rng = random.Random(f"{self.seed} wrong {self.rows[row].text}")
        name = blamed or rng.choice([one for one in self._fields if len(self._pool[one]) > 1])
        others = [value for value in self._pool[name] if value != json.dumps(truth.get(name))]
        return truth | {name: json.loads(rng.choice(others))}

    def discovered(self, messages: Sequence[Mapping[str, str]], *, seed: int) -> list[Rule]:
        """The rules that a writer tells who was shown these messages."""
        whole = "\n".join(m["content"] for m in messages)
        places = self.found(whole)
        ends = [*(begin for _, begin, _ in places[1:]), len(whole)]
        told = []
        for rule in self.rules:
            missed = 1.0
            for (i, _, end), until in zip(places, ends):
                if rule in self._of_row[i]:
                    right = json.dumps(self.rows[i].output.get(rule.field))
                    wrong = any(value != right and value.strip('"') in whole[end:until] for value in self._pool[rule.field])
                    missed *= 1 - (FAILED if wrong else SHOWN)
            chance = KEPT if rule.told(whole) else 1 - missed
            if random.Random(f"{self.seed} {seed} finds {rule.cue} {whole}").random() < chance:
                told.append(rule)
        return told

    def instruction(self, messages: Sequence[Mapping[str, str]], *, seed: int) -> str:
        """A prompt in the writer's words, without a place for the input."""
        tips = ("", "Read the text to its end first. ", "Be precise. ", "Answer with the JSON object alone. ")
        tip = random.Random(f"{self.seed} {seed} tip {messages}").choice(tips)
        return "\n".join([tip + self.words, *(rule.sentence for rule in self.discovered(messages, seed=seed))])

    def filled(self, messages: Sequence[Mapping[str, str]], *, seed: int, temperature: float) -> str:
        """An answer in DSPy's form: each output field that the system message names."""
        system = messages[0]["content"]
        outputs = system.partition("Your output fields are:")[2].partition("All interactions")[0]
        names = re.findall(r"`(\w+)`", outputs)
        parts = []
        for name in names:
            if name == "output_json":
                said = json.dumps(self.answer(messages, seed=seed, temperature=temperature), ensure_ascii=False)
            elif "instruction" in name:
                said = self.instruction(messages, seed=seed)
            else:
                said = " ".join(["The texts are short.", *(rule.sentence for rule in self.discovered(messages, seed=seed))])
            parts.append(f"[[ ## {name} ## ]]\n{said}")
        return "\n\n".join([*parts, "[[ ## completed ## ]]"])


def tokens(text: str) -> int:
    """English takes about four characters a token."""
    return -(-len(text) // 4)


def _normal(name: str) -> float:
    drawn = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
    return NormalDist().inv_cdf((drawn + 0.5) / 2**64)

"""A model with known truth: how often it is right follows from words of its prompt, and which rows are hard is the same for all prompts."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suite_models import examples, task, truth

from pp_assets.prompts.candidate import Candidate, Ground, Judged, Origin
from pp_assets.prompts.prompted import ChatTarget
from pp_assets.prompts.wording import Wording
from pp_assets.task.examples import Example
from pp_assets.task.spec import TaskSpec
from pp_resources.models.chat import Reply
from pp_resources.models.price import Price

GAIN = re.compile(r"gain(-?\d+)")
SPEC = task(system_prompt="Answer as JSON.")


class World:
    """Right on a share `base` of the texts, and on as many per cent more as the word ``gain<n>`` in the prompt says. `noise` is the share
    of texts whose difficulty is drawn anew for each prompt. Each call is a byte in `counter`, if there is one."""

    identity = "world"

    def __init__(self, base: float = 0.5, noise: float = 0.1, counter: Path | None = None, price: Price | None = None) -> None:
        self.name, self.base, self.noise, self.counter, self.price = "world", base, noise, counter, price
        self.asked: list[str] = []

    def ask(self, messages: Any, **how: Any) -> Reply:
        return self.ask_all([messages], **how)[0]

    def ask_all(self, asked: Any, **_how: Any) -> list[Reply]:
        return [self._one(messages) for messages in asked]

    def _one(self, messages: Any) -> Reply:
        whole = "\n".join(message["content"] for message in messages)
        text = whole.partition("Input: ")[2]
        self.asked.append(text)
        if self.counter:
            with self.counter.open("ab") as out:
                out.write(b".")
        skill = self.base + sum(int(n) for n in GAIN.findall(whole)) / 100
        fresh = share("fresh", whole) < self.noise
        right = share(whole if fresh else "item", text) < skill
        said = truth(text)
        if not right:
            said["urgent"] = not said["urgent"]
        return Reply(json.dumps(said), len(whole) // 4, 20, False, seconds=0.01)


def share(*parts: str) -> float:
    """A number in 0..1 that follows from these texts."""
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:6], "big") / 2**48


class Words:
    """Proposes the parents' wording with other words before it: the n-th proposal of a search the n-th of `words`."""

    source = "words"

    def __init__(self, words: Sequence[str]) -> None:
        self.words, self.seen = list(words), list[list[str]]()

    def propose(self, ground: Ground, parents: Sequence[Judged], count: int, seed: int) -> list[Candidate]:
        self.seen.append([row.item_id for parent in parents for row in parent.rows])
        best = parents[0].candidate
        tried = {parent.candidate.wording.system for parent in parents}
        fresh = [f"{word} {SPEC.system_prompt}" for word in self.words]
        made = [system for system in fresh if system not in tried][:count]
        return [
            Candidate.of(ground.spec, Wording(system, best.wording.template), Origin("words", (best.id,), system.split()[0]))
            for system in made
        ]


def worded(words: str = "", spec: TaskSpec = SPEC) -> Candidate:
    return Candidate.of(spec, Wording(f"{words} {spec.system_prompt}".strip(), spec.instruction_template), Origin("seed"))


def rows(count: int, seed: int = 1) -> list[Example]:
    return examples(count, seed)


def target(**how: Any) -> ChatTarget:
    return ChatTarget(World(**how))

"""What a simulated customer does with an answer: says whether it was right, corrects it, says nothing, says it late, or twice, or wrongly.

A reaction follows from the visit and the answer alone. All chances are drawn before the answer is looked at, so the same customer meets
two variants in the same mood: what differs between them is the answers.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from examples.support_chat.measures import ACCURACY, RESOLUTION, SATISFACTION
from examples.support_chat.population import Visit, topic_path
from pp_assets.data.generation.made import seed_of
from pp_assets.data.generation.slots import copy_of
from pp_resources.json_schema import leaf_fields, set_path

DEMONSTRATION = "demonstration"
_DRAWS = ("speaks", "mistaken", "corrects", "slips", "closes", "content", "rates", "mood", "asks", "late", "again", "clicks")
Level = Literal["inference", "episode"]


@dataclass(frozen=True)
class Habits:
    """Chances, and what they are of. People who are unhappy speak more often: what is said is no fair sample of what holds."""

    answers: float = 0.35  # says that a right answer was right
    complains: float = 0.6  # says that a wrong one was wrong
    mistaken: float = 0.04  # says the opposite of what holds
    corrects: float = 0.5  # of those who say "wrong": writes the right answer
    slips: float = 0.05  # of those: with another topic than the right one
    closes: float = 0.3  # says at the end whether the matter is solved
    rates: float = 0.2  # gives one to five stars
    asks: float = 0.5  # of those with a wrong answer: says it all again
    thanks: float = 0.25  # of those with a right one: says thanks
    late: float = 0.3  # says it only up to `latest` visits later
    latest: int = 60
    again: float = 0.1  # their program sends the same twice (a retry: one key)
    clicks: float = 0.05  # they click twice (two keys)


@dataclass(frozen=True)
class Reaction:
    """Feedback that somebody gives `after` so many later visits. `metric` "demonstration" has the right output as its value. Equal keys are
    one feedback, sent again."""

    metric: str
    value: bool | float | str | Mapping[str, Any]
    level: Level
    key: str
    after: int = 0

    def body(self, task: str, inference: str, episode: str) -> dict[str, Any]:
        """What POST /feedback takes."""
        value = dict(self.value) if isinstance(self.value, Mapping) else self.value
        target = {"inference_id": inference} if self.level == "inference" else {"episode_id": episode}
        return {"metric_name": self.metric, "value": value, "function_name": task, "idempotency_key": self.key, **target}


def react(visit: Visit, answer: Mapping[str, Any] | None, habits: Habits | None = None) -> list[Reaction]:
    """What comes back on an answer (the output object; None: no answer, a person took over), in the order in which it is sent when nothing
    is late. Ends of conversations are said of the episode, the rest of the inference."""
    habits = habits or Habits()
    chance = _chances(visit)
    said: list[tuple[str, Any, Level]] = []
    right = visit.right(answer)
    if answer is not None and chance["speaks"] < (habits.answers if right else habits.complains):
        fine = right != (chance["mistaken"] < habits.mistaken)
        said.append((ACCURACY, fine, "inference"))
        if not fine and chance["corrects"] < habits.corrects:
            said.append((DEMONSTRATION, _correction(visit, chance["slips"] < habits.slips), "inference"))
    # A person solves most matters; a right answer leads to the right desk, a wrong one seldom does.
    solved = 0.9 if answer is None else 0.93 if right else 0.25
    if chance["closes"] < habits.closes:
        said.append((RESOLUTION, chance["content"] < solved, "episode"))
    if chance["rates"] < habits.rates:
        said.append((SATISFACTION, _stars(4.5 if right else 3.5 if answer is None else 2.0, chance["mood"]), "episode"))
    return _sent(visit, said, chance, habits)


def next_words(visit: Visit, answer: Mapping[str, Any] | None, habits: Habits | None = None) -> str | None:
    """What somebody writes next: the same again who was not understood, thanks who was; None from those who say nothing."""
    habits = habits or Habits()
    chance = _chances(visit)["asks"]
    if answer is None:
        return None
    if visit.right(answer):
        return "Thanks, that is all." if chance < habits.thanks else None
    if chance >= habits.asks:
        return None
    opening = random.Random(seed_of(visit.seed, "again")).choice(("No, that is not what I meant. ", "Once more: ", "I said: ", ""))
    return opening + visit.text


def seconds(visit: Visit) -> float:
    """How long this customer thinks before the next message: 8 to 90 s, of no clock."""
    return round(random.Random(seed_of(visit.seed, "seconds")).uniform(8, 90), 1)


def _chances(visit: Visit) -> dict[str, float]:
    rng = random.Random(seed_of(visit.seed, "reaction"))
    return {name: rng.random() for name in _DRAWS}


def _sent(visit: Visit, said: list[tuple[str, Any, Level]], chance: Mapping[str, float], habits: Habits) -> list[Reaction]:
    rng = random.Random(seed_of(visit.seed, "sending"))
    wait = rng.randint(1, habits.latest) if chance["late"] < habits.late else 0
    made = [Reaction(metric, value, level, f"{visit.episode}:{metric}", wait) for metric, value, level in said]
    if made and chance["again"] < habits.again:
        made.append(replace(made[0], after=wait + rng.randint(1, 5)))
    if made and chance["clicks"] < habits.clicks:
        made.append(replace(made[0], key=made[0].key + ":2"))
    return made


def _correction(visit: Visit, slips: bool) -> dict[str, Any]:
    """The right output; from somebody who slips with another topic, where the task has topics."""
    output, path = copy_of(visit.truth), topic_path(visit.reader.schema)
    leaf = next((leaf for leaf in leaf_fields(visit.reader.schema) if leaf.path == path), None)
    if slips and leaf is not None and path is not None:
        others = [value for value in leaf.values or (True, False) if str(value) != visit.topic]
        if others:
            set_path(output, path, random.Random(seed_of(visit.seed, "slip")).choice(others))
    return output


def _stars(middle: float, mood: float) -> float:
    """One to five whole stars about a middle."""
    return float(min(5, max(1, round(middle + 3 * (mood - 0.5)))))

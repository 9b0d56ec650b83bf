"""Simulated customers in the chat, one after another, and what the simulation knows of them that the system does not."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from examples.support_chat.chat import SupportChat, Turn
from examples.support_chat.population import Visit
from examples.support_chat.reactions import Habits, next_words, react, seconds
from pp_assets.evaluation.stats.intervals import wilson
from pp_resources.progress import steps


@dataclass(frozen=True)
class Outcome:
    """One conversation. `right` is whether the last answer was (None: there was none); `turns` how many messages were answered."""

    visit: Visit
    turns: int
    delivered: bool
    right: bool | None
    variant: str | None


def simulate(chat: SupportChat, visits: Sequence[Visit], habits: Habits | None = None) -> list[Outcome]:
    """Let all of them have their conversation. What somebody says late is sent so many conversations later, the rest at the end."""
    made: list[Outcome] = []
    late: list[tuple[int, int, dict[str, Any]]] = []
    order = count()
    with steps("conversations", len(visits)) as advance:
        for visit in visits:
            _send_due(chat, late, visit.number)
            first = chat.say(visit.episode, visit.text, subject=visit.subject)
            words = next_words(visit, _shown(first), habits)
            last = first if words is None else chat.say(visit.episode, words, seconds=seconds(visit))
            for reaction in react(visit, _shown(last), habits):
                if last.answer is None and reaction.level == "inference":
                    continue
                body = reaction.body(chat.gateway.function, last.answer.inference if last.answer else "", visit.episode)
                if reaction.after:
                    heapq.heappush(late, (visit.number + reaction.after, next(order), body))
                else:
                    chat.feedback(visit.episode, body)
            chat.leave(visit.episode)
            made.append(_outcome(visit, first, last))
            advance("")
    _send_due(chat, late, None)
    return made


def summary(outcomes: Sequence[Outcome], *, unsent: int, refused: int) -> dict[str, Any]:
    """What happened, and how often the last answers were right by the hidden labels: before the drift and after it, of those
    that passed the quality check and those that did not, and by variant."""
    variants = sorted({one.variant for one in outcomes if one.variant is not None})
    return {
        "conversations": len(outcomes),
        "turns": sum(one.turns for one in outcomes),
        "handed_off": sum(not one.delivered for one in outcomes),
        "without_answer": sum(one.right is None for one in outcomes),
        "feedback_unsent": unsent,
        "feedback_refused": refused,
        "truth": {
            "all": _share(outcomes),
            "before_drift": _share(one for one in outcomes if not one.visit.drifted),
            "after_drift": _share(one for one in outcomes if one.visit.drifted),
            "delivered": _share(one for one in outcomes if one.delivered),
            "handed_off": _share(one for one in outcomes if not one.delivered),
            **{f"variant {name}": _share(one for one in outcomes if one.variant == name) for name in variants},
        },
    }


def _share(outcomes: Iterable[Outcome]) -> dict[str, Any]:
    known = [one.right for one in outcomes if one.right is not None]
    if not known:
        return {"n": 0, "value": None, "low": None, "high": None, "reason": "no answers"}
    low, high = wilson(sum(known), len(known))
    return {"n": len(known), "value": sum(known) / len(known), "low": low, "high": high}


def _shown(turn: Turn) -> Any:
    """The answer that the customer saw, None where a person took over."""
    return turn.answer.output if turn.delivered and turn.answer is not None else None


def _outcome(visit: Visit, first: Turn, last: Turn) -> Outcome:
    asked = 1 if first.answer is None or last.answer is None or first.answer.inference == last.answer.inference else 2
    right = None if last.answer is None else visit.right(last.answer.output)
    return Outcome(visit, asked, last.delivered, right, None if last.answer is None else last.answer.variant)


def _send_due(chat: SupportChat, late: list[tuple[int, int, dict[str, Any]]], now: int | None) -> None:
    while late and (now is None or late[0][0] <= now):
        chat.send(heapq.heappop(late)[2])

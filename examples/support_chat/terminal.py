"""A conversation on a terminal, line by line; a line that begins with "/" says something of the last answer."""

import json
from dataclasses import asdict
from typing import Any, TextIO

from examples.support_chat.chat import SupportChat, Turn
from examples.support_chat.measures import ACCURACY, RESOLUTION, SATISFACTION
from examples.support_chat.reactions import DEMONSTRATION
from pp_resources.errors import UserError, nearest
from pp_resources.store.ids import uuid7

HELP = "/yes /no (was it right?)  /fix {JSON} (the right answer)  /solved /unsolved  /stars 1-5  /note WORDS  /quit"
PLAIN = {"yes": (ACCURACY, True), "no": (ACCURACY, False), "solved": (RESOLUTION, True), "unsolved": (RESOLUTION, False)}


def talk(chat: SupportChat, lines: TextIO, out: TextIO, *, as_json: bool = False) -> int:
    """One conversation, until /quit or the end of the input. What cannot be understood is told, and the conversation goes on."""
    episode, turn = uuid7(), None
    _say(out, as_json, HELP, {"episode_id": episode})
    for line in lines:
        text = line.strip()
        if text == "/quit":
            break
        if not text:
            continue
        try:
            if not text.startswith("/"):
                turn = chat.say(episode, text)
                _say(out, as_json, f"{turn.reply}\n{_aside(turn)}", asdict(turn))
            else:
                body = said(text)
                if turn is None:
                    raise UserError("there is no answer yet", how="write a message first")
                chat.feedback(episode, body if body["metric_name"] not in (RESOLUTION, SATISFACTION) else {**body, "episode_id": episode})
                _say(out, as_json, f"(noted{f'; {len(chat.unsent)} wait for the gateway' if chat.unsent else ''})", {"noted": body})
        except UserError as error:
            _say(out, as_json, f"({error})", {"error": str(error)})
    if turn is not None:
        chat.leave(episode)
    return 0


def said(text: str) -> dict[str, Any]:
    """The feedback of a line such as "/no". Raises UserError for one that says nothing."""
    word, _, rest = text.removeprefix("/").partition(" ")
    if word in PLAIN:
        metric, value = PLAIN[word]
        return {"metric_name": metric, "value": value}
    if word == "stars" and rest.strip() in ("1", "2", "3", "4", "5"):
        return {"metric_name": SATISFACTION, "value": float(rest)}
    if word == "note" and rest.strip():
        return {"metric_name": "comment", "value": rest.strip()}
    if word == "fix":
        try:
            found = json.loads(rest)
        except ValueError:
            found = None
        if isinstance(found, dict):
            return {"metric_name": DEMONSTRATION, "value": found}
        raise UserError("the right answer is a JSON object", where="/fix", how='such as /fix {"category": "delivery", …}')
    raise UserError(f"{text!r} says nothing", how=nearest(word, [*PLAIN, "stars", "note", "fix", "quit"]))


def _aside(turn: Turn) -> str:
    """What the customer would not see: who answered, and why it went where it went."""
    if turn.answer is None:
        return f"  [no answer; {'; '.join(turn.verdict.reasons)}]"
    sure = "confidence unknown" if turn.answer.confidence is None else f"confidence {turn.answer.confidence:.2f}"
    went = "delivered" if turn.delivered else f"handed off: {'; '.join(turn.verdict.reasons)}"
    return f"  [{turn.answer.variant}, {sure}, {went}; {json.dumps(turn.answer.output, ensure_ascii=False)}]"


def _say(out: TextIO, as_json: bool, text: str, value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False) if as_json else text, file=out, flush=True)

"""The application: a LangGraph graph around a gateway. One conversation is one thread of it, one episode, and meets one variant.

    intent -> answer -> check -> deliver | hand_off -> listen -> intent | listen | end

`listen` waits (an interrupt) for what the customer does next: a message, feedback, or leaving. Feedback is sent before the graph moves
on; while the gateway is away it waits, and is sent again with the same key, so that none is lost and none counts twice.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypedDict

import openai
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from examples.support_chat import replies, signals
from examples.support_chat.checks import Checks, Verdict
from examples.support_chat.gateway import SOURCE, Answer, Gateway, refusal
from examples.support_chat.measures import ESCALATED, RELEVANCE, SECONDS
from pp_resources.errors import UserError

Next = Literal["intent", "listen", "end"]


class State(TypedDict, total=False):
    """What a conversation knows. `understood` (the answer) and `verdict` are plain values, as a checkpoint keeps them; `at` is when the
    reply was given, `spoken` how often the customer said something of an answer."""

    episode: str
    subject: str | None
    text: str
    understood: dict[str, Any] | None
    problem: str
    reply: str
    verdict: dict[str, Any]
    escalated: bool
    spoken: int
    at: float
    next: Next


@dataclass(frozen=True)
class Turn:
    """What came of a message. `answer` None: nothing answered."""

    episode: str
    reply: str
    delivered: bool
    answer: Answer | None
    verdict: Verdict


class SupportChat:
    """`clock` gives seconds, for the time that customers take."""

    def __init__(self, gateway: Gateway, checks: Checks, clock: Callable[[], float] = time.monotonic) -> None:
        self.gateway, self.checks, self.clock = gateway, checks, clock
        self.unsent: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.memory = InMemorySaver()
        made = StateGraph(State)
        for node in (self.intent, self.answer, self.check, self.deliver, self.hand_off, self.listen):
            made.add_node(node.__name__, node)
        made.add_edge(START, "intent")
        made.add_edge("intent", "answer")
        made.add_edge("answer", "check")
        made.add_conditional_edges("check", lambda state: "hand_off" if state["verdict"]["reasons"] else "deliver", ["deliver", "hand_off"])
        made.add_edge("deliver", "listen")
        made.add_edge("hand_off", "listen")
        made.add_conditional_edges("listen", lambda state: state["next"], {"intent": "intent", "listen": "listen", "end": END})
        self.graph = made.compile(checkpointer=self.memory)

    def say(self, episode: str, text: str, *, subject: str | None = None, seconds: float | None = None) -> Turn:
        """A customer's message: the first one of an episode opens the conversation. `seconds` since the last reply, by default measured."""
        if self._waits(episode):
            return self._go(episode, Command(resume={"kind": "message", "text": text, "seconds": seconds}))
        return self._go(episode, {"episode": episode, "subject": subject, "text": text, "escalated": False, "spoken": 0})

    def feedback(self, episode: str, body: Mapping[str, Any]) -> None:
        """What the customer says of an answer, in the form of POST /feedback; without a target it is of the last answer. Raises UserError
        where the gateway refuses it; the conversation goes on."""
        before = len(self.refused)
        self._go(episode, Command(resume={"kind": "feedback", "body": dict(body)}))
        if len(self.refused) > before:
            raise UserError(self.refused[-1], where="feedback", how="correct it; nothing was kept of it")

    def leave(self, episode: str) -> None:
        """The customer is gone; the conversation is forgotten here (the store keeps it)."""
        self._go(episode, Command(resume={"kind": "leave"}))
        self.memory.delete_thread(episode)

    def send(self, body: Mapping[str, Any]) -> None:
        """Send feedback, after what could not be sent before. While the gateway is away it waits in `unsent`; why it was refused is kept in
        `refused`. Nothing is raised: a node of the graph that fails would be given the same event again, for ever."""
        self.unsent.append(dict(body))
        while self.unsent:
            try:
                self.gateway.send(self.unsent[0])
            except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError):
                return
            except openai.APIStatusError as error:
                self.refused.append(refusal(error))
            self.unsent.pop(0)

    def intent(self, state: State) -> State:
        """Understand the message: the gateway's function, in this conversation's episode."""
        try:
            found = self.gateway.ask(state["text"], state["episode"], state.get("subject"))
        except openai.APIError as error:
            return {"understood": None, "problem": refusal(error)}
        return {"understood": asdict(found), "problem": ""}

    def answer(self, state: State) -> State:
        """Write the reply: by the answering model where there is one, else from a template."""
        answer = state["understood"]
        if answer is None or answer["output"] is None:
            return {"reply": replies.GONE}
        try:
            written = self.gateway.write(state["text"], replies.facts(answer["output"]), state["episode"], state.get("subject"))
        except openai.APIError:
            written = None  # the template says less, and is always there
        return {"reply": written or replies.reply(answer["output"])}

    def check(self, state: State) -> State:
        """May it go out?"""
        return {"verdict": asdict(self.checks.verdict(state["text"], _answer(state), state["problem"]))}

    def deliver(self, state: State) -> State:
        """The customer reads the reply. Once a person was needed, the conversation stays one that was escalated."""
        if not state["escalated"]:
            self._escalated(state, False)
        return {"at": self.clock()}

    def hand_off(self, state: State) -> State:
        """A person takes over, and the customer is told so."""
        answer, reason = state["understood"], "; ".join(state["verdict"]["reasons"])
        if answer is not None:
            self.send(self.gateway.handed_off(answer["inference"], reason))
        self._escalated(state, True)
        return {"reply": replies.GONE if answer is None else replies.PERSON, "escalated": True, "at": self.clock()}

    def listen(self, state: State) -> State:
        """Wait for the customer; send on what their doing says of the answer."""
        event = interrupt({"reply": state["reply"]})
        if event["kind"] == "leave":
            return {"next": "end"}
        if event["kind"] == "feedback":
            self.send(self._about(state, event["body"]))
            return {"next": "listen", "spoken": state["spoken"] + 1}
        self._implied(state, event["text"], event["seconds"])
        if signals.is_thanks(event["text"]):
            return {"next": "listen", "reply": replies.BYE, "at": self.clock()}
        return {"next": "intent", "text": event["text"]}

    def _implied(self, state: State, text: str, seconds: float | None) -> None:
        """Implicit feedback on the last answer. A hand-off says nothing of the answer, which nobody read."""
        answer = state["understood"]
        if answer is None or state["verdict"]["reasons"] or state["reply"] == replies.BYE:
            return
        waited = self.clock() - state["at"] if seconds is None else seconds
        try:
            useful = signals.understood(state["text"], text, self.gateway.similarity)
        except openai.APIError:
            useful = None  # without vectors it cannot be told
        said = {SECONDS: round(waited, 3), RELEVANCE: useful}
        for metric, value in said.items():
            if value is not None:
                key = f"{answer['inference']}:{metric}"
                self.send(self._about(state, {"metric_name": metric, "value": value, "idempotency_key": key}))

    def _about(self, state: State, body: Mapping[str, Any]) -> dict[str, Any]:
        made = {"function_name": self.gateway.function, "source": SOURCE, **body}
        if state.get("subject") is not None:
            made["subject"] = state["subject"]  # so that erasing a person finds it
        if "inference_id" not in made and "episode_id" not in made:
            made |= {"inference_id": state["understood"]["inference"]} if state["understood"] else {"episode_id": state["episode"]}
        made.setdefault("idempotency_key", f"{state['episode']}:{made['metric_name']}:{state['spoken']}")
        return made

    def _escalated(self, state: State, value: bool) -> None:
        key = f"{state['episode']}:{ESCALATED}:{value}"
        said = {"metric_name": ESCALATED, "value": value, "episode_id": state["episode"], "idempotency_key": key}
        self.send(self._about(state, said))

    def _waits(self, episode: str) -> bool:
        return bool(self.graph.get_state({"configurable": {"thread_id": episode}}).next)

    def _go(self, episode: str, given: Any) -> Turn:
        state = self.graph.invoke(given, {"configurable": {"thread_id": episode}})
        plain = state["verdict"]  # a checkpoint keeps tuples as lists
        verdict = Verdict(tuple(plain["reasons"]), plain["score"], tuple(plain["unknown"]))
        return Turn(episode, state["reply"], verdict.passed, _answer(state), verdict)


def _answer(state: Mapping[str, Any]) -> Answer | None:
    return Answer(**state["understood"]) if state["understood"] is not None else None

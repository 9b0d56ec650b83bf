"""A world that thinks before it answers and explains what it is told; and the same behind an address, as a provider."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from suite_models import truth
from writing_world import World

from bench.serving import JsonHandler, answering, completion
from pp_resources.models.chat import Messages, Reply


def steps_to(said: dict[str, Any]) -> list[str]:
    order = f'The text says "{said["order"]}", so order is "{said["order"]}".'
    return [order, f"Its letter tells of {said['kind']}.", f"By its last digit urgent is {str(said['urgent']).lower()}."]


@dataclass
class Thinker(World):
    """A world that gives steps where it is asked for some: of what it answers, but for a share `loose` that leads elsewhere. It is better
    by `thought` in each field where it thinks. As a writer it gives the steps to what it is told, but for `silent` none and `lies` others.
    Steps behind an input tell it the kind and the urgency where they say them."""

    thought: float = 0.0
    loose: float = 0.0
    silent: float = 0.0
    lies: float = 0.0

    def ask_all(self, asked: Any, *, schema: Any = None, **how: Any) -> list[Reply]:
        wanted = (schema or {}).get("properties", {})
        if "reasoning" in wanted and "answer" not in wanted:
            self.asked["writer"] += len(asked)
            return [Reply(self._explained(messages), 100, 30, False) for messages in asked]
        found = super().ask_all(asked, schema=schema, **how)
        if "reasoning" not in wanted:
            return found
        return [self._thoughtful(messages, reply) for messages, reply in zip(asked, found, strict=True)]

    def skill(self, prompt: str, name: str, kind: str) -> float:
        text = prompt.rsplit("What follows from it:", 1)[-1] if "What follows from it:" in prompt else ""
        told = f"tells of {kind}" in text or (name != "kind" and bool(text))
        return 1.0 if told else super().skill(prompt, name, kind) + self.thought * ('"reasoning"' in prompt)

    def _thoughtful(self, messages: Messages, reply: Reply) -> Reply:
        said = json.loads(reply.text)
        text = messages[-1]["content"].rsplit("Input:", 1)[-1]
        led = said if self._draw("loose", text) >= self.loose else said | {"urgent": not said["urgent"]}
        return reply._replace(text=json.dumps({"reasoning": steps_to(led), "answer": said}), tokens_out=reply.tokens_out + 40)

    def _explained(self, messages: Messages) -> str:
        text = messages[-1]["content"].split("Input: ", 1)[1].split("\nThe right answer: ")[0]
        said = truth(text)
        draw = self._draw("explained", text)
        if draw < self.silent:
            return "no"
        if draw < self.silent + self.lies:
            return json.dumps({"reasoning": [*steps_to(said)[:1], "It is of some other kind.", f"urgent: {str(said['urgent']).lower()}"]})
        return json.dumps({"reasoning": steps_to(said)})


@contextmanager
def served(world: World) -> Iterator[str]:
    """The address of a server that answers as `world` does, under any name."""

    class Handler(JsonHandler):
        def do_POST(self) -> None:
            asked = self.asked()
            form = asked.get("response_format")
            schema = form["json_schema"]["schema"] if form else None
            said = world.ask(asked["messages"], schema=schema, seed=asked.get("seed", 0))
            self.send(200, completion(said.text, said.tokens_in, said.tokens_out, model="world"))

    with answering(Handler) as url:
        yield f"{url}/v1"

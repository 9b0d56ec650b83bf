"""DSPy's MIPROv2 on one task, in the peers' own environment; `bench.prompts` starts it.

    .venv/peers/bin/python -m bench.prompts_dspy TASK.json

TASK.json holds instructions, train, val and test rows ({text, output}), the settings of a simulated world or the address of a model's
server, and the preset of MIPROv2. The last line of the output is JSON: scores of each test row before and after, calls, tokens.
"""

import json
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import dspy
from dspy.lm15 import Message, Response, Usage

from bench.prompt_world import Row, World, tokens


class Engine:
    """What DSPy asks, and how often."""

    def __init__(self, world: World | None, url: str) -> None:
        self.world, self.url = world, url
        self.calls = self.written = self.tokens_in = self.tokens_out = 0
        self._lock, self._seed = threading.Lock(), 0

    def complete(self, request: Any) -> Response:
        messages = [{"role": "system", "content": _text(request.system)}] if request.system else []
        messages += [{"role": one.role, "content": _text(one.parts)} for one in request.messages]
        temperature = float(request.config.temperature or 0.0)
        task = "`output_json`" in messages[0]["content"]
        with self._lock:
            self._seed += 1
            seed = self._seed
        said = self._asked(messages) if self.world is None else self.world.filled(messages, seed=seed, temperature=temperature)
        counted = sum(tokens(m["content"]) for m in messages), tokens(said)
        with self._lock:
            self.calls, self.written = self.calls + task, self.written + (not task)
            self.tokens_in, self.tokens_out = self.tokens_in + counted[0], self.tokens_out + counted[1]
        usage = Usage(input_tokens=counted[0], output_tokens=counted[1], total_tokens=sum(counted))
        return Response(id=None, model="bench", message=Message.assistant(said), finish_reason="stop", usage=usage)

    def _asked(self, messages: list[dict[str, str]]) -> str:
        body = json.dumps({"messages": messages}).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url, body), timeout=600) as answer:
            return str(json.loads(answer.read())["text"])


def main() -> None:
    asked = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    rows = {name: [Row(one["text"], one["output"]) for one in asked[name]] for name in ("train", "val", "test")}
    world = World([row for part in rows.values() for row in part], **asked["world"]) if asked["world"] else None
    engine = Engine(world, asked["url"])
    dspy.configure(lm=dspy.LM("local/bench", engine=engine, cache=False))
    signature = dspy.Signature("input_text -> output_json", asked["instructions"])
    sets = {
        name: [dspy.Example(input_text=row.text, output_json=json.dumps(row.output)).with_inputs("input_text") for row in part]
        for name, part in rows.items()
    }
    program = dspy.Predict(signature)
    before = scores(program, sets["test"])
    engine.calls = engine.written = engine.tokens_in = engine.tokens_out = 0
    found = dspy.MIPROv2(metric=right, auto=asked["auto"], num_threads=1, seed=asked["seed"] or 9, verbose=False).compile(
        program, trainset=sets["train"], valset=sets["val"]
    )
    spent = {"calls": engine.calls, "written": engine.written, "tokens": engine.tokens_in + engine.tokens_out}
    print(json.dumps({"before": before, "after": scores(found, sets["test"]), **spent, "prompt": found.signature.instructions}))


def right(example: Any, said: Any, _trace: Any = None) -> float:
    try:
        return float(json.loads(said.output_json) == json.loads(example.output_json))
    except (ValueError, TypeError, AttributeError):
        return 0.0


def scores(program: Any, rows: list[Any]) -> list[float]:
    found = []
    for row in rows:
        try:
            found.append(right(row, program(input_text=row.input_text)))
        except Exception:
            found.append(0.0)
    return found


def _text(parts: Any) -> str:
    return parts if isinstance(parts, str) else "".join(part.text for part in parts)


if __name__ == "__main__":
    main()

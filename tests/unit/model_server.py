"""A loopback server with /v1/chat/completions behind which a causal model of ours answers: what a provider of an own machine would be."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bench.serving import JsonHandler, answering, completion
from pp_resources.models.bases import TINY_BASE, find_base
from pp_resources.models.causal import CausalPredictor, load_model, load_tokenizer
from pp_resources.models.causal_plain import shares_prefix
from pp_resources.models.causal_prompt import Prompt


class ModelServer:
    """`url` ends in /v1. `seen` are the request bodies in order. Callers without `key`, where there is one, get 401; the first `failing`
    requests get 503. A temperature samples by the request's seed, 0 takes the likeliest token."""

    def __init__(self, base: Path, key: str | None, failing: int) -> None:
        self.key, self.failing, self.seen = key, failing, list[dict[str, Any]]()
        self.model, self.tokenizer = load_model(base), load_tokenizer(base)
        shares_prefix(self.model)  # tried out once per model, and no try may take of a seed's noise
        self.lock = threading.Lock()
        self.url = ""

    def answer(self, asked: Mapping[str, Any], key: str | None) -> tuple[int, dict[str, Any]]:
        self.seen.append(dict(asked))
        if self.failing:
            self.failing -= 1
            return 503, {"error": {"message": "overloaded"}}
        if self.key and key != f"Bearer {self.key}":
            return 401, {"error": {"message": f"wrong key {key}"}}
        if asked["model"] != "ours":
            return 404, {"error": {"message": f"no model {asked['model']}"}}
        with self.lock:
            said = self.predict(asked)
        return 200, completion(said.text, said.tokens_in, said.tokens_out, model="ours", ended=said.finish_reason)

    def predict(self, asked: Mapping[str, Any]) -> Any:
        form = asked.get("response_format")
        schema = form["json_schema"]["schema"] if form else {}
        system = "\n".join(m["content"] for m in asked["messages"] if m["role"] == "system")
        said = "\n".join(m["content"] for m in asked["messages"] if m["role"] != "system")
        made = CausalPredictor(
            "ours",
            self.model,
            self.tokenizer,
            schema,
            Prompt(system, "", ""),
            constrained=form is not None,
            max_new_tokens=asked.get("max_tokens"),
        )
        # The largest of logits with Gumbel noise is a draw from their softmax, under any mask.
        noise, heat = torch.Generator().manual_seed(asked.get("seed", 0)), asked.get("temperature", 0.0)

        def sample(_model: Any, _inputs: Any, out: Any) -> Any:
            last = out.logits[0, -1]
            out.logits[0, -1] = last - heat * torch.empty_like(last).exponential_(generator=noise).log_()
            return out

        hook = self.model.register_forward_hook(sample) if heat else None
        try:
            return made.predict([said])[0]
        finally:
            if hook:
                hook.remove()


@contextmanager
def model_server(base: Path | None = None, *, key: str | None = None, failing: int = 0) -> Iterator[ModelServer]:
    """Serves `base` (the shipped one by default) as the model "ours" until the block ends."""
    made = ModelServer(base or find_base(TINY_BASE), key, failing)

    class Handler(JsonHandler):
        def do_POST(self) -> None:
            asked, found = self.asked(), self.path == "/v1/chat/completions"
            self.send(*(made.answer(asked, self.headers["Authorization"]) if found else (404, {})))

    with answering(Handler) as url:
        made.url = f"{url}/v1"
        yield made

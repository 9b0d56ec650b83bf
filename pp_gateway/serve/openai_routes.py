"""GET /v1/models and POST /v1/embeddings, in OpenAI's form."""

import base64
from typing import Any

import orjson

from pp_gateway.serve.exchange import Http, Reply
from pp_gateway.serve.gateway import Gateway
from pp_gateway.serve.requests import EmbeddingsRequest, read
from pp_gateway.serve.said import Refused

EMBEDDING = "embedding"  # a name that stands for the configured encoder, whatever it is


async def models(gateway: Gateway, http: Http) -> Reply:
    """All names that may stand as `model`, or the one in the path."""
    known = _models(gateway)
    wanted = http.path.removeprefix("/v1/models").strip("/")
    if not wanted:
        return Reply(orjson.dumps({"object": "list", "data": list(known.values())}))
    if wanted not in known:
        raise Refused(404, "unknown_model", f"{wanted!r} is not served", how="see /v1/models", param="model")
    return Reply(orjson.dumps(known[wanted]))


async def embeddings(gateway: Gateway, http: Http) -> Reply:
    """Unit vectors of sentences."""
    request = read(EmbeddingsRequest, http.body)
    encoder = gateway.now.config.embedder
    if request.model not in (encoder, EMBEDDING):
        raise Refused(404, "unknown_model", f"{request.model!r} is no encoder that is served", how=f"use {encoder!r}", param="model")
    texts = [request.input] if isinstance(request.input, str) else request.input
    with gateway.using():
        vectors = await gateway.embeddings.embed(encoder, texts)
    size = len(vectors[0].values)
    if request.dimensions not in (None, size):
        raise Refused(400, "unsupported_parameter", f"vectors have {size} dimensions", how="leave out dimensions", param="dimensions")
    packed = request.encoding_format == "base64"
    data = [
        {
            "object": "embedding",
            "index": place,
            "embedding": base64.b64encode(vector.values.tobytes()).decode() if packed else vector.values,
        }
        for place, vector in enumerate(vectors)
    ]
    tokens = sum(vector.tokens for vector in vectors)
    made = {"object": "list", "data": data, "model": request.model, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    return Reply(orjson.dumps(made, option=orjson.OPT_SERIALIZE_NUMPY))


def _models(gateway: Gateway) -> dict[str, dict[str, Any]]:
    created = int(gateway.began)
    names = [(name, "task") for name in gateway.now.functions]
    names += [(f"{name}::{variant}", "variant") for name, function in gateway.now.functions.items() for variant in function.variants]
    names += [(name, "remote") for name in gateway.now.models] + [(gateway.now.config.embedder, "encoder")]
    return {name: {"id": name, "object": "model", "created": created, "owned_by": "promptprecision", "kind": kind} for name, kind in names}

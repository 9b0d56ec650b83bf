"""The interface to an OpenAI-compatible address, against a server of this machine with a model of ours."""

import json
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from causal_tiny import write_tiny_base
from model_server import ModelServer, model_server

from pp_resources import provider as module
from pp_resources.errors import UserError
from pp_resources.provider import Provider, provider_from_env

SCHEMA = {
    "type": "object",
    "properties": {"topic": {"enum": ["bill", "parcel"]}, "sure": {"type": "boolean"}},
    "required": ["topic", "sure"],
    "additionalProperties": False,
}
HELLO = [{"role": "system", "content": "Answer with JSON."}, {"role": "user", "content": "Where is my parcel?"}]
KEY = "sk-private-one"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def server(base: Path) -> Iterator[ModelServer]:
    with model_server(base) as made:
        yield made


def test_an_answer_follows_the_schema_and_is_asked_once(server: ModelServer, tmp_path: Path) -> None:
    provider = Provider(server.url, "ours", cache=tmp_path / "answers.sqlite")
    first = provider.ask(HELLO, schema=SCHEMA, max_tokens=40)
    jsonschema.validate(json.loads(first.text), SCHEMA)
    assert first.tokens_in > 10 and first.tokens_out > 3 and not first.cached and provider.spent == first.tokens_in + first.tokens_out
    again = Provider(server.url, "ours", cache=tmp_path / "answers.sqlite")
    assert again.ask(HELLO, schema=SCHEMA, max_tokens=40) == first._replace(cached=True) and again.spent == 0
    assert len(server.seen) == 1


def test_whatever_an_answer_depends_on_is_asked_anew(server: ModelServer, tmp_path: Path) -> None:
    provider = Provider(server.url, "ours", cache=tmp_path / "answers.sqlite")
    turned = {**SCHEMA, "properties": dict(reversed(SCHEMA["properties"].items()))}
    asked = [{"max_tokens": 8}, {"max_tokens": 9}, {"max_tokens": 8, "seed": 1}, {"max_tokens": 8, "temperature": 0.5}]
    asked += [{"max_tokens": 8, "schema": SCHEMA}, {"max_tokens": 8, "schema": turned}]
    for options in asked * 2:
        provider.ask(HELLO, **options)
    provider.ask(HELLO[1:], max_tokens=8)
    assert len(server.seen) == len(asked) + 1


def test_a_temperature_draws_by_the_seed(server: ModelServer) -> None:
    provider = Provider(server.url, "ours")
    said = [provider.ask(HELLO, temperature=1.0, seed=seed, max_tokens=12).text for seed in (1, 2, 1)]
    assert said[0] == said[2] != said[1]


def test_a_spent_budget_stops_and_what_was_bought_stays(server: ModelServer, tmp_path: Path) -> None:
    provider = Provider(server.url, "ours", budget=1, cache=tmp_path / "answers.sqlite")
    first = provider.ask(HELLO, max_tokens=4)
    with pytest.raises(UserError, match="budget of 1 tokens is spent"):
        provider.ask(HELLO, max_tokens=5)
    assert provider.ask(HELLO, max_tokens=4) == first._replace(cached=True)
    richer = Provider(server.url, "ours", budget=10_000, cache=tmp_path / "answers.sqlite")
    assert richer.ask(HELLO, max_tokens=4).cached and not richer.ask(HELLO, max_tokens=5).cached


def test_a_failure_that_passes_is_tried_again(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRIES", 1)
    with model_server(base, failing=1) as server:
        assert Provider(server.url, "ours").ask(HELLO, max_tokens=2).tokens_out == 2
        assert len(server.seen) == 2
        server.failing = 2
        with pytest.raises(UserError, match=r"status 503.*overloaded; try later"):
            Provider(server.url, "ours").ask(HELLO, max_tokens=2)


def test_the_key_opens_the_door_and_is_never_said(base: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    with model_server(base, key=KEY) as server:
        cache = tmp_path / "answers.sqlite"
        assert Provider(server.url, "ours", key=KEY, cache=cache).ask(HELLO, max_tokens=2).text
        with pytest.raises(UserError, match=r"status 401.*PP_PROVIDER_KEY") as no:
            Provider(server.url, "ours", key="sk-other").ask(HELLO)
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert "sk-other" not in str(no.value) and KEY not in caplog.text and KEY.encode() not in kept


def test_what_is_wrong_with_the_address_is_told(server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRIES", 0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    for url, model, words in [
        (nobody, "ours", "does not answer"),
        (server.url, "theirs", "no model theirs"),
        (server.url + "/other", "ours", "check PP_PROVIDER_URL"),
    ]:
        with pytest.raises(UserError, match=words):
            Provider(url, model).ask(HELLO)
    with pytest.raises(UserError, match="no address"):
        Provider("localhost:80", "ours")


def test_the_environment_names_the_provider(server: ModelServer, tmp_path: Path) -> None:
    assert provider_from_env() is None
    os.environ["PP_PROVIDER_URL"] = server.url
    with pytest.raises(UserError, match="PP_PROVIDER_MODEL"):
        provider_from_env()
    os.environ |= {"PP_PROVIDER_MODEL": "ours", "PP_PROVIDER_BUDGET": "many"}
    with pytest.raises(UserError, match="not a number of tokens"):
        provider_from_env()
    os.environ["PP_PROVIDER_BUDGET"] = "500"
    made = provider_from_env()
    assert made and made.budget == 500 and made.ask(HELLO, max_tokens=2).text
    assert (Path(os.environ["PP_HOME"]) / "provider" / "answers.sqlite").is_file()

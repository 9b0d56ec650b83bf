"""The interface to an OpenAI-compatible address, against a server of this machine with a model of ours."""

import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from causal_tiny import write_tiny_base
from model_server import ModelServer, model_server

from bench.serving import JsonHandler, completion
from pp_assets.providers import provider_from_env
from pp_resources.errors import UserError
from pp_resources.models.provider_table import Retries, Terms
from pp_resources.models.remote import AT_ONCE, Provider, each

SCHEMA = {
    "type": "object",
    "properties": {"topic": {"enum": ["bill", "parcel"]}, "sure": {"type": "boolean"}},
    "required": ["topic", "sure"],
    "additionalProperties": False,
}
HELLO = [{"role": "system", "content": "Answer with JSON."}, {"role": "user", "content": "Where is my parcel?"}]
KEY = "sk-private-one"
ONE, NONE = (Terms(retries=Retries(most=most, first_pause=0.01)) for most in (1, 0))


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


def test_a_failure_that_passes_is_tried_again(base: Path) -> None:
    with model_server(base, failing=1) as server:
        assert Provider(server.url, "ours", terms=ONE).ask(HELLO, max_tokens=2).tokens_out == 2
        assert len(server.seen) == 2
        server.failing = 2
        with pytest.raises(UserError, match=r"status 503.*overloaded; try later"):
            Provider(server.url, "ours", terms=ONE).ask(HELLO, max_tokens=2)


def test_the_key_opens_the_door_and_is_never_said(base: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    with model_server(base, key=KEY) as server:
        cache = tmp_path / "answers.sqlite"
        assert Provider(server.url, "ours", key=KEY, cache=cache).ask(HELLO, max_tokens=2).text
        with pytest.raises(UserError, match=r"status 401.*PP_PROVIDER_KEY") as no:
            Provider(server.url, "ours", key="sk-other").ask(HELLO)
    kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert "sk-other" not in str(no.value) and KEY not in caplog.text and KEY.encode() not in kept


def test_what_is_wrong_with_the_address_is_told(server: ModelServer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    for url, model, words in [
        (nobody, "ours", "does not answer"),
        (server.url, "theirs", "no model theirs"),
        (server.url + "/other", "ours", "check the address, and the name 'ours'"),
    ]:
        with pytest.raises(UserError, match=words):
            Provider(url, model, terms=NONE).ask(HELLO)
    with pytest.raises(UserError, match="no address"):
        Provider("localhost:80", "ours")
    with pytest.raises(UserError, match="an address holds no key"):
        Provider("http://me:secret@127.0.0.1/v1", "ours")


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


class Slow(ThreadingHTTPServer):
    """Answers after all that may be under way are: `most` is how many were."""

    def __init__(self) -> None:
        self.lock, self.now, self.most, self.asked = threading.Lock(), 0, 0, list[str]()
        self.full = threading.Event()
        super().__init__(("127.0.0.1", 0), SlowHandler)


class SlowHandler(JsonHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        said = self.asked()["messages"][0]["content"]
        with server.lock:
            server.asked.append(said)
            server.now += 1
            server.most = max(server.most, server.now)
            if server.now == AT_ONCE:
                server.full.set()
        server.full.wait(10)
        with server.lock:
            server.now -= 1
        self.send(200, completion(said.upper(), 1, 1))


@pytest.fixture
def slow() -> Iterator[Slow]:
    with Slow() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.full.set()
        made.shutdown()


def test_several_are_asked_at_once_and_come_in_order(slow: Slow, tmp_path: Path) -> None:
    one = Provider(f"http://127.0.0.1:{slow.server_port}/v1", "m", cache=tmp_path / "answers.sqlite")
    texts = [f"text {i}" for i in range(20)] + ["text 0", "text 19"]
    said = list(each(lambda text: one.ask([{"role": "user", "content": text}]).text, texts))
    assert said == [text.upper() for text in texts]
    assert slow.most == AT_ONCE and sorted(slow.asked) == sorted(set(texts)), "none was bought twice"


def test_a_spent_budget_ends_what_is_asked_at_once(slow: Slow) -> None:
    one = Provider(f"http://127.0.0.1:{slow.server_port}/v1", "m", budget=12)
    slow.full.set()  # not as many as may be are under way: those that the rest of the budget may not pay wait
    said = []
    with pytest.raises(UserError, match="the budget of 12 tokens is spent"):
        for text in each(lambda i: one.ask([{"role": "user", "content": f"text {i}"}]).text, range(40)):
            said.append(text)
    assert said == [f"TEXT {i}" for i in range(6)] and len(slow.asked) == 6 and one.spent == 12

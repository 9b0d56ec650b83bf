"""Asks recorded and replayed: no server, no key, and an unknown request is told with what the nearest one has otherwise."""

import json
from pathlib import Path

import pytest
from fault_server import IN, OUT, fault_server

from pp_assets.providers import chat_model, provider_from_env
from pp_resources.errors import UserError
from pp_resources.models.cassette import Cassette
from pp_resources.models.remote import Provider
from pp_resources.settings import Settings

KEY = "sk-very-private"
HELLO = [{"role": "system", "content": "Be short."}, {"role": "user", "content": f"Tell {KEY} the way to the station"}]


def recorded(tmp_path: Path) -> tuple[str, Path]:
    file = tmp_path / "deep" / "tape.jsonl"
    with fault_server() as server:
        for _ in range(2):
            one = Provider(server.url, "m", key=KEY, cassette=Cassette(file, "record", KEY), cache=tmp_path / "answers.sqlite")
            one.ask([{"role": "user", "content": "hello"}])
            one.ask([{"role": "user", "content": "ho"}], seed=2, max_tokens=5)
        assert len(server.asked) == 2
    return server.url, file


def test_what_was_recorded_is_replayed_without_server_and_key(tmp_path: Path) -> None:
    url, file = recorded(tmp_path)
    assert len(file.read_text().splitlines()) == 2, "each request once, kept answers too"
    one = Provider(url, "m", cassette=Cassette(file, "replay"))
    reply = one.ask([{"role": "user", "content": "hello"}])
    assert (reply.text, reply.tokens_in, reply.tokens_out, reply.cached, one.spent) == ("HELLO", IN, OUT, True, 0)
    assert [r.text for r in one.ask_all([[{"role": "user", "content": "ho"}]], seed=2, max_tokens=5)] == ["HO"]


def test_an_unknown_request_is_told_beside_the_nearest(tmp_path: Path) -> None:
    url, file = recorded(tmp_path)
    one = Provider(url, "m", cassette=Cassette(file, "replay"))
    words = "seed 2 instead of 3; max_tokens 5 instead of 6; record it"
    with pytest.raises(UserError, match=words):
        one.ask([{"role": "user", "content": "ho"}], seed=3, max_tokens=6)
    with pytest.raises(UserError, match=r"messages\[0\].content 'hello' instead of 'hallo'"):
        one.ask([{"role": "user", "content": "hallo"}])
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(UserError, match="nothing is recorded"):
        Provider(url, "m", cassette=Cassette(tmp_path / "empty.jsonl", "replay")).ask(HELLO)


def test_no_key_is_in_it_also_where_it_is_repeated(tmp_path: Path) -> None:
    file = tmp_path / "tape.jsonl"
    with fault_server() as server:
        Provider(server.url, "m", key=KEY, cassette=Cassette(file, "record", KEY)).ask(HELLO)
    assert KEY not in file.read_text() and "***" in file.read_text()


def test_the_environment_names_cassette_and_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, file = recorded(tmp_path)
    monkeypatch.setenv("PP_PROVIDER_URL", url)
    monkeypatch.setenv("PP_PROVIDER_MODEL", "m")
    monkeypatch.setenv("PP_PROVIDER_CASSETTE", str(file))
    one = provider_from_env()
    assert one and one.ask([{"role": "user", "content": "hello"}]).text == "HELLO"
    assert chat_model("openai/gpt-4.1", Settings.from_env()).name == "openai/gpt-4.1", "a replay needs no key"
    monkeypatch.setenv("PP_PROVIDER_CASSETTE_MODE", "recording")
    with pytest.raises(UserError, match="PP_PROVIDER_CASSETTE_MODE: 'recording' is no mode; did you mean 'record'"):
        provider_from_env()


def test_what_is_no_cassette(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such cassette"):
        Cassette(tmp_path / "none.jsonl", "replay")
    file = tmp_path / "tape.jsonl"
    file.write_text(json.dumps({"url": "u"}) + "\n")
    with pytest.raises(UserError, match=r"tape.jsonl:1: is no line of a cassette"):
        Cassette(file, "replay")

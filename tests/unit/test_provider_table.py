"""Models by name: the table, what a user changes in it, what is wrong with a file, keys, prices and the command that shows them."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from fault_server import IN, OUT, fault_server

from pp_assets.providers import chat_model, provider_from_env, provider_table
from pp_resources.errors import UserError
from pp_resources.models.bases import TINY_BASE
from pp_resources.models.chat import ChatModel
from pp_resources.models.local_chat import LocalChat
from pp_resources.models.price import Price
from pp_resources.models.remote import Provider
from pp_resources.settings import Settings


@pytest.fixture
def settings() -> Settings:
    made = Settings.from_env()
    made.home.mkdir(parents=True)
    return made


def written(settings: Settings, text: str) -> Settings:
    (settings.home / "providers.yaml").write_text(text, "utf-8")
    return settings


def test_the_table_that_ships_is_sound_and_its_prices_have_dates(settings: Settings) -> None:
    table = provider_table(settings)
    assert {"anthropic", "google", "openai", "vllm", "ollama"} <= table.keys()
    assert (table["vllm"].url, table["ollama"].url) == ("http://127.0.0.1:8000/v1", "http://127.0.0.1:11434/v1")
    keys = {name: table[name].key_env for name in ("anthropic", "google", "openai")}
    assert keys == {"anthropic": "ANTHROPIC_API_KEY", "google": "GEMINI_API_KEY", "openai": "OPENAI_API_KEY"}
    assert all(offer.since for row in table.values() for offer in row.models.values() if offer.price)
    assert table["anthropic"].models["claude-haiku-5-5"].price is None, "what is not known is not 0"


def test_a_file_adds_providers_and_changes_some_fields(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
providers:
  openai:
    limits: {requests_per_minute: 60}
    models:
      gpt-5-mini: {usd_in: 9, usd_out: 10.5, since: 2027-01-01}
  house:
    url: http://10.0.0.5:8000/v1
    leaves_out: [seed]
"""
    before, table = provider_table(settings)["openai"], provider_table(written(settings, text))
    ours = table["openai"]
    assert ours.limits.requests_per_minute == 60 and ours.limits.at_once == before.limits.at_once
    assert ours.models["gpt-5-mini"].price == Price(9.0, 10.5, date(2027, 1, 1)) and ours.models["gpt-4.1"] == before.models["gpt-4.1"]
    assert ours.terms("gpt-5-mini").leaves_out == ["temperature"] and ours.terms("gpt-4.1").leaves_out == []
    house = chat_model("house:qwen/3:8b", settings)
    assert (house.name, house.price) == ("house/qwen/3:8b", None) and house.identity == "http://10.0.0.5:8000/v1 qwen/3:8b without seed"
    elsewhere = settings.home / "other.yaml"
    elsewhere.write_text("providers: {house: {url: http://h/v1}}")
    monkeypatch.setenv("PP_PROVIDERS", str(elsewhere))
    assert provider_table(settings)["house"].url == "http://h/v1" and provider_table(settings)["openai"] == before
    monkeypatch.setenv("PP_PROVIDERS", str(elsewhere) + ".not")
    with pytest.raises(UserError, match="no such file"):
        provider_table(settings)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("providers:\n  openai:\n    limit: {}\n", r"yaml:3: providers.openai.limit: unknown key 'limit'; did you mean 'limits'\?"),
        ("providers:\n  house:\n    key_env: K\n", "yaml:2: providers.house.url: 'url' is missing"),
        ("providers:\n  a:\n    url: http://k:secret@h/v1\n", "yaml:3: providers.a.url: String should match"),
        ("providers:\n  vllm:\n    limits:\n      at_once: 0\n", "yaml:4: providers.vllm.limits.at_once: .*greater than or equal to 1"),
        ("providers:\n  vllm:\n    models:\n      a: {usd_in: 1}\n", "yaml:4: providers.vllm.models.a: usd_in and usd_out go together"),
        ("providers:\n  vllm:\n    structured: json\n", "yaml:3: providers.vllm.structured: 'json' is not one of .*did you mean"),
        ("provider: {}\n", r"yaml:1: provider: unknown key 'provider'; did you mean 'providers'\?"),
        ("providers:\n  vllm: [\n", r"yaml:3: not YAML"),
    ],
)
def test_what_is_wrong_with_the_file_is_told_with_its_place(settings: Settings, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        provider_table(written(settings, text))


def test_names_that_are_nobodys(settings: Settings) -> None:
    for name, words in [
        ("antropic/claude", "no provider 'antropic'; did you mean 'anthropic'"),
        ("openai", "names a provider and no model"),
        ("anthropic/claude-sonnet-5-5", "ANTHROPIC_API_KEY: is not set"),
        ("local/nobody/knows-this", "unknown base model"),
    ]:
        with pytest.raises(UserError, match=words):
            chat_model(name, settings)


def test_a_name_gives_a_model_with_price_key_and_terms(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-1")
    made: ChatModel = chat_model("anthropic/claude-sonnet-5-5", settings, budget_usd=1.0)
    assert isinstance(made, Provider) and made.price == Price(2.0, 10.0, date(2026, 9, 28)) and made.form == "none"
    with pytest.raises(UserError, match="claude-haiku-5-5 is unpriced"):
        chat_model("anthropic/claude-haiku-5-5", settings, budget_usd=1.0)
    here = chat_model(f"local/{TINY_BASE}", settings)
    assert isinstance(here, LocalChat) and here.name == f"local/{TINY_BASE}"


def test_what_a_server_refuses_is_not_sent(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with fault_server() as server:
        text = f"providers:\n  openai: {{url: '{server.url}'}}\n"
        written(settings, text)
        reply = chat_model("openai/gpt-5-mini", settings).ask([{"role": "user", "content": "hi"}], max_tokens=7, seed=3)
        assert reply.text == "HI" and server.asked == [
            {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "hi"}], "seed": 3, "max_completion_tokens": 7}
        ]


def test_the_environment_may_name_a_provider_of_the_table(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with fault_server() as server:
        written(settings, f"providers:\n  house: {{url: '{server.url}', models: {{m: {{usd_in: 1, usd_out: 2}}}}}}\n")
        monkeypatch.setenv("PP_PROVIDER_MODEL", "house/m")
        monkeypatch.setenv("PP_PROVIDER_BUDGET_USD", "0.00001")
        one = provider_from_env()
        assert one and one.ask([{"role": "user", "content": "hi"}]).text == "HI" and one.usd == Price(1.0, 2.0).of(IN, OUT)
        with pytest.raises(UserError, match="US dollars is spent"):
            one.ask([{"role": "user", "content": "ho"}])
        monkeypatch.setenv("PP_PROVIDER_URL", server.url)
        monkeypatch.setenv("PP_PROVIDER_MODEL", "m")
        by_address = provider_from_env()
        assert by_address and by_address.price == one.price, "an address in the table has its prices"
    monkeypatch.delenv("PP_PROVIDER_URL")
    monkeypatch.setenv("PP_PROVIDER_MODEL", "local/x")
    with pytest.raises(UserError, match="runs on this machine"):
        provider_from_env()
    monkeypatch.setenv("PP_PROVIDER_BUDGET_USD", "a lot")
    with pytest.raises(UserError, match="not a number of US dollars"):
        provider_from_env()


def test_the_commands_show_and_ask(pp: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    listed = {one["provider"]: one for one in pp("providers", "list", "--json").json["providers"]}
    assert listed["openai"]["key_set"] and not listed["google"]["key_set"] and listed["ollama"]["key_set"] is None
    text = pp("providers", "list").out
    assert "anthropic/claude-haiku-5-5" in text and "unpriced" in text and "2026-09-28" in text and "sk-1" not in text
    with fault_server() as server:
        server.refuses = ("json_schema",)
        (home / "pp").mkdir(exist_ok=True)
        (home / "pp" / "providers.yaml").write_text(f"providers:\n  house: {{url: '{server.url}', models: {{m: {{}}}}}}\n")
        said = pp("providers", "check", "house", "--json")
        told = said.json
        assert said.code == 1 and not told["valid"] and told["model"] == "house/m" and told["form"] == "json_object"
        assert (told["tokens_in"], told["tokens_out"], told["usd"]) == (IN, OUT, None) and told["seconds"] > 0
        assert "(unpriced)" in pp("providers", "check", "house/m").out and len(server.asked) == 3
    assert pp("providers", "check", "hose").code == 2
    here = pp("providers", "check", f"local/{TINY_BASE}", "--json")
    assert here.code == 0 and here.json["valid"] and here.json["form"] == "grammar"

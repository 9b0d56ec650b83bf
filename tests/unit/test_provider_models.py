"""A name of a model that a provider does not serve: told before data is made, with what the user gave; others are let pass."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import command_line, use_installation
from small_task import write_task
from test_encoder_tokens import tiny_encoder

from bench.serving import JsonHandler, answering, completion
from pp_assets.pipeline import Pipeline
from pp_assets.prompts.optimising import Wanted, check_wanted
from pp_assets.providers import chat_model
from pp_resources.errors import UserError
from pp_resources.models.cassette import Cassette
from pp_resources.models.remote import Provider
from pp_resources.settings import Settings

HELLO = [{"role": "user", "content": "Hello"}]


class Listing:
    """`lists` are the models that it tells of (None: none are told, but a page), `takes` those that it answers for; `asked` were wanted."""

    def __init__(self) -> None:
        self.url, self.lists, self.takes, self.asked = "", ["writer-large", "judge"], {"writer-large", "alias"}, list[str]()

    def answer(self, model: str) -> tuple[int, Any]:
        self.asked.append(model)
        if model not in self.takes:
            return 404, {"error": {"message": f"model {model} not found"}}
        return 200, completion("Hi", model=model)


@pytest.fixture
def server() -> Iterator[Listing]:
    made = Listing()

    class Handler(JsonHandler):
        def do_GET(self) -> None:
            if made.lists is None:
                self.send(200, b"<html>hello</html>", {"Content-Type": "text/html"})
            elif self.path != "/v1/models":
                self.send(404, {})
            else:
                data = [{"id": name, "object": "model", "created": 0, "owned_by": "us"} for name in made.lists]
                self.send(200, {"object": "list", "data": data})

        def do_POST(self) -> None:
            self.send(*made.answer(self.asked()["model"]))

    with answering(Handler) as url:
        made.url = f"{url}/v1"
        yield made


def nobody() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


def test_what_is_listed_passes_and_what_is_neither_listed_nor_taken_does_not(server: Listing, tmp_path: Path) -> None:
    Provider(server.url, "judge").check()
    assert not server.asked, "a name that is listed needs no question"
    Provider(server.url, "alias").check()
    assert server.asked == ["alias"], "many servers take more names than they list"
    with pytest.raises(UserError, match=r"has no model 'writer-lage'; check .*'writer-lage'; did you mean 'writer-large'\?"):
        Provider(server.url, "writer-lage").check()
    tape = tmp_path / "tape.jsonl"
    Provider(server.url, "alias", cassette=Cassette(tape, "record")).ask(HELLO)
    Provider(nobody(), "alias", cassette=Cassette(tape, "replay")).check()


@pytest.mark.parametrize("place", ["no such path", "a page"])
def test_a_server_that_lists_no_models_refuses_none(server: Listing, place: str) -> None:
    if place == "a page":
        server.lists = None
    url = server.url if place == "a page" else f"{server.url}/other"
    Provider(url, "whatever").check()
    assert not server.asked
    with pytest.raises(UserError, match="lists no models"):
        Provider(url, "whatever").models()


def test_an_address_that_does_not_answer_is_told() -> None:
    with pytest.raises(UserError, match=r"does not answer .*; check the address of the provider"):
        Provider(nobody(), "m").check()


def test_what_is_missing_is_told_by_what_the_user_gave(server: Listing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "providers.yaml"
    table.write_text(f"providers: {{house: {{url: '{server.url}'}}}}\n")
    monkeypatch.setenv("PP_PROVIDERS", str(table))
    settings = Settings.from_env()
    told = {"house/none": "the name 'house/none', and the address of house", f"{server.url}#none": f"the name '{server.url}#none'"}
    for name, words in told.items():
        with pytest.raises(UserError, match="status 404") as caught:
            chat_model(name, settings).ask(HELLO)
        assert words in caught.value.how and "PP_PROVIDER" not in caught.value.how
    monkeypatch.setenv("PP_PROVIDER_MODEL", "house/none")
    with pytest.raises(UserError, match=r"check PP_PROVIDER_MODEL \('house/none'\)"):
        chat_model("provider", settings).ask(HELLO)
    monkeypatch.setenv("PP_PROVIDER_URL", server.url)
    with pytest.raises(UserError, match="check PP_PROVIDER_URL and PP_PROVIDER_MODEL"):
        chat_model("provider", settings).ask(HELLO)


def test_prompt_commands_find_it_before_data_is_made(server: Listing, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_task(tmp_path / "tasks", "alpha", rows=24, more=f"encoder_model_id: {tiny_encoder(tmp_path / 'encoder')}")
    pp, wrong = command_line(tmp_path, capfd), f"{server.url}#writer-lage"
    for command, option in (("optimise", "--target"), ("optimise", "--writer"), ("impact", "--target")):
        said = pp("prompt", command, "alpha", option, wrong)
        assert said.code == 2 and "did you mean 'writer-large'?" in said.err and wrong in said.err
    use_installation(tmp_path)
    p = Pipeline.from_env()
    assert not [key for kind in ("datasets", "contracts", "seeds") for key in p.store.keys(kind)], "nothing was made"
    check_wanted(p, "alpha", Wanted(target=f"{nobody()}#m"), ask=False)  # what looks all the time asks no network
    with pytest.raises(UserError, match="does not answer"):
        check_wanted(p, "alpha", Wanted(target=f"{nobody()}#m"))

"""A base model of this machine as a chat model: bound and free, alone and among others, beside the predictor of the same engine."""

import json
from pathlib import Path

import jsonschema
import pytest
from causal_tiny import write_tiny_base

from pp_resources.errors import UserError
from pp_resources.models.bases import TINY_BASE
from pp_resources.models.causal import CausalPredictor, load_tokenizer
from pp_resources.models.causal_prompt import Prompt, message_ids
from pp_resources.models.local_chat import LocalChat

SCHEMA = {
    "type": "object",
    "properties": {"topic": {"enum": ["bill", "parcel"]}, "sure": {"type": "boolean"}},
    "required": ["topic", "sure"],
    "additionalProperties": False,
}
SYSTEM = {"role": "system", "content": "Answer with JSON."}
TEXTS = ["Where is my parcel?", "My bill is wrong.", "Where is my bill?", "Hello"]
ASKED = [[SYSTEM, {"role": "user", "content": f"Read this:\n{text}"}] for text in TEXTS]


@pytest.fixture(scope="module")
def chat() -> LocalChat:
    return LocalChat(TINY_BASE, threads=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("base"))


def test_a_bound_answer_follows_the_schema_and_the_predictor_says_the_same(chat: LocalChat) -> None:
    replies = chat.ask_all(ASKED, schema=SCHEMA, max_tokens=60)
    predictor = CausalPredictor.from_base("ours", chat.folder, SCHEMA, Prompt("Answer with JSON.", "Read this:\n", ""), max_new_tokens=60)
    for reply, said in zip(replies, predictor.predict(TEXTS), strict=True):
        jsonschema.validate(json.loads(reply.text), SCHEMA)
        assert (reply.text, reply.tokens_in, reply.tokens_out, reply.finish_reason) == (said.text, said.tokens_in, said.tokens_out, "stop")
        assert not reply.cached and reply.seconds is not None and reply.seconds > 0


def test_company_changes_no_answer_and_no_count(chat: LocalChat) -> None:
    together = chat.ask_all([*ASKED, ASKED[0]], max_tokens=12)
    alone = [chat.ask(messages, max_tokens=12) for messages in [*ASKED, ASKED[0]]]
    assert [one._replace(seconds=0.0) for one in together] == [one._replace(seconds=0.0) for one in alone]
    tokenizer = load_tokenizer(chat.folder)
    assert [one.tokens_in for one in alone] == [len(message_ids(tokenizer, messages)) for messages in [*ASKED, ASKED[0]]]
    assert all(one.tokens_out <= 12 for one in together) and chat.ask_all([]) == []


def test_seed_and_temperature_change_nothing(chat: LocalChat) -> None:
    said = {chat.ask(ASKED[0], max_tokens=12, seed=seed, temperature=1.0).text for seed in (1, 2)}
    assert said == {chat.ask(ASKED[0], max_tokens=12).text}


def test_a_prompt_without_room_ends_with_length(base: Path) -> None:
    chat = LocalChat(str(base))
    long, short = [{"role": "user", "content": "word " * 3000}], [{"role": "user", "content": "word"}]
    first, second = chat.ask_all([long, short], max_tokens=4)
    assert (first.text, first.tokens_out, first.finish_reason) == ("", 0, "length") and first.tokens_in > 3000
    assert second.tokens_out > 0 and second._replace(seconds=0.0) == chat.ask(short, max_tokens=4)._replace(seconds=0.0)


def test_it_is_told_apart_by_its_weights_and_costs_nothing(chat: LocalChat, base: Path) -> None:
    assert chat.identity == LocalChat(TINY_BASE).identity != LocalChat(str(base)).identity
    assert chat.name == f"local/{TINY_BASE}" and chat.price.of(10**6, 10**6) == 0
    with pytest.raises(UserError, match="unknown base model"):
        LocalChat("nobody/knows-this")


def test_messages_without_a_template_stand_with_blank_lines_between(base: Path) -> None:
    tokenizer = load_tokenizer(base)
    tokenizer.chat_template = None
    several = [SYSTEM, {"role": "user", "content": "One"}, {"role": "assistant", "content": "1"}, {"role": "user", "content": "Two"}]
    text = tokenizer.decode(message_ids(tokenizer, several), skip_special_tokens=True)
    assert text.split("\n\n")[-3:] == ["One", "1", "Two\n"]
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}[{{ m.content }}]{% endfor %}"
    )
    assert tokenizer.decode(message_ids(tokenizer, several)) == "[Answer with JSON.\n\nOne][1][Two]"

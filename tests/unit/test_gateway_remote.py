"""Remote variants: prompts, prices, tries, time limits, and who answers when they cannot."""

import json
import time

import pytest
from gateway_place import TEXT, closed_port, events, place, running
from test_package import SCHEMA
from upstream_stub import ANSWER, stub

from pp_assets.serving.remotes import key_of, settled
from pp_assets.serving.spec import Remote
from pp_resources.errors import UserError
from pp_resources.settings import Settings

RETRIES = {"most": 2, "first_pause": 0.01, "longest_pause": 0.05}

HOUSE = """providers:
  house:
    url: {url}
    max_tokens_field: max_completion_tokens
    leaves_out: [seed]
    structured: json_object
    models: {{m: {{usd_in: 3, usd_out: 4, leaves_out: [temperature]}}}}
"""


def remote(url, **more):
    return {"kind": "remote", "url": url, "model": "m", "retries": RETRIES} | more


@pytest.fixture(scope="module")
def ups():
    with stub() as one, stub('{"topic": "login", "order": null, "angry": true}') as other:
        one.key = "secret-key"
        yield one, other


@pytest.fixture(scope="module")
def server(tmp_path_factory, ups):
    one, other = ups
    quick = {"total": 0.4, "between_tokens": 0.2}
    serving = {
        "variants": {
            "big": remote(one.url, key_env="TOY_KEY", price_in=1.0, price_out=2.0, timeouts=quick, breaker={"failures": 100}),
            "shots": {"kind": "few_shot", "examples": 2, "of": "big"},
            "worded": remote(other.url, system_prompt="Be brief.", instruction_template="Q: {{ input_text }}", structured="none"),
            "other": remote(other.url),
            "listed": {"kind": "remote", "provider": "house", "model": "m", "max_tokens": 50, "retries": RETRIES},
            "gone": remote(f"http://127.0.0.1:{closed_port()}/v1", breaker={"failures": 3, "seconds": 60.0}),
            "local": {"kind": "package", "recipe": "encoder-lora"},
        },
        "routing": {"metric": "right", "champion": "big", "weights": {"big": 1.0}},
        "fallbacks": ["gone", "local"],
        "timeout": 6.0,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOY_KEY", "secret-key")
        where = place(tmp_path_factory.mktemp("gateway"), serving)
        (where.settings.home / "providers.yaml").write_text(HOUSE.format(url=other.url))
        with running(where) as made:
            yield made


@pytest.fixture
def up(ups):
    one = ups[0]
    one.seen.clear()
    yield one
    one.fail, one.hang, one.pause, one.breaks = [], 0.0, 0.0, False


def test_the_task_s_prompt_form_and_key_go_to_the_model_and_the_price_into_the_row(server, up):
    said = server.infer(params={"temperature": 0.7, "seed": 3}).json
    assert (said["variant_name"], said["output"]["raw"], said["valid"], said["confidence"]) == ("big", ANSWER, True, None)
    assert said["usage"] == {"input_tokens": 10, "output_tokens": 5, "cost": pytest.approx(20e-6)}
    (asked,) = up.seen
    assert asked["messages"][0] == {"role": "system", "content": "You route mail."} and TEXT in asked["messages"][1]["content"]
    assert asked["response_format"]["json_schema"]["schema"] == SCHEMA and (asked["temperature"], asked["seed"]) == (0.7, 3)
    assert up.headers["Authorization"] == "Bearer secret-key"
    assert server.place.rows()[-1]["cost"] == pytest.approx(20e-6)


def test_examples_and_words_of_a_variant_s_own(server, up, ups):
    assert server.infer(variant_name="shots").json["valid"] and up.seen[-1]["messages"][1]["content"].count("Input:") == 3
    assert server.infer(variant_name="worded").json["usage"]["cost"] is None, "without a price it is unpriced, not free"
    assert ups[1].seen[-1]["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Q: {TEXT}"}]
    assert "response_format" not in ups[1].seen[-1]


def test_what_the_table_says_of_a_provider_holds_for_a_variant(server, ups):
    said = server.infer(variant_name="listed", params={"temperature": 0.7, "seed": 3}).json
    assert said["valid"] and said["usage"]["cost"] == pytest.approx((10 * 3 + 5 * 4) / 1e6)
    asked = ups[1].seen[-1]
    assert sorted(asked) == ["max_completion_tokens", "messages", "model", "response_format"] and asked["max_completion_tokens"] == 50
    assert asked["response_format"] == {"type": "json_object"}


def test_what_a_variant_says_itself_holds(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    settings = Settings(tmp_path, tmp_path, threads=1)
    own = Remote(provider="openai", model="gpt-5-mini", url="http://127.0.0.1:9/v1", price_in=1.0, price_out=1.0, leaves_out=[])
    made = settled(own, settings, "x")
    assert (made.url, made.price_in, made.leaves_out, made.max_tokens_field) == (own.url, 1.0, [], "max_completion_tokens")
    assert (key_of(made, "x"), key_of(settled(Remote(provider="vllm", model="m"), settings, "x"), "x")) == ("sk-1", None)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UserError, match="OPENAI_API_KEY: is not set"):
        key_of(made, "x")
    with pytest.raises(UserError, match="x: provider: no provider 'opnai'; did you mean 'openai'"):
        settled(Remote(provider="opnai", model="m"), settings, "x")


def test_what_passes_is_tried_again(server, up):
    up.fail = [503, 429]
    said = server.infer().json
    assert said["variant_name"] == "big" and said["fallbacks"] == [] and len(up.seen) == 3


def test_a_no_is_not_asked_again_and_the_key_is_not_told(server, up):
    up.fail = [400]
    said = server.infer().json
    assert said["variant_name"] == "local" and len(up.seen) == 1 and said["output"]["parsed"] is not None
    first, second = said["fallbacks"]
    assert first["variant"] == "big" and "status 400): no, ***" in first["error"] and second["variant"] == "gone"
    assert json.loads(server.place.rows()[-1]["chain"]) == said["fallbacks"]


def test_an_upstream_that_hangs_leaves_its_turn_within_its_time(server, up):
    up.hang = 5.0
    began = time.monotonic()
    said = server.infer().json
    assert said["variant_name"] == "local" and said["fallbacks"][0]["code"] == "timeout" and time.monotonic() - began < 5.0


def test_one_that_is_down_is_left_alone_and_tried_later(server, up):
    up.fail = [500] * 3
    gone = server.infer().json["fallbacks"][1]
    assert gone["variant"] == "gone" and gone["code"] in ("no_connection", "upstream_down")
    up.fail = [500] * 3
    server.infer()
    assert server.infer(variant_name="gone").json["error"]["code"] == "upstream_down"
    down = next(one for name, one in server.gateway.builder.upstreams().items() if one.open)
    down._closed_until = 0.0  # a minute later
    assert server.infer(variant_name="gone").json["error"]["code"] == "no_connection", "one request is let through"
    assert server.infer(variant_name="gone").json["error"]["code"] == "upstream_down"


def test_a_pinned_variant_has_no_fallback_and_its_failure_is_kept(server, up):
    up.fail = [401]
    answer = server.infer(variant_name="big")
    assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_error"), "our key is not the caller's affair"
    row = server.place.rows()[-1]
    assert row["output"] is None and "status 401" in row["error"] and row["variant"] == "big"


def test_a_stream_comes_in_pieces_and_falls_back_before_the_first(server, up):
    *pieces, whole, done = events(server.infer(stream=True).body)
    assert len(pieces) == 2 and "".join(p["raw"] for p in pieces) == whole["output"]["raw"] == ANSWER and done == "[DONE]"
    assert whole["usage"]["input_tokens"] == 10 and whole["valid"]
    up.fail = [400]
    assert events(server.infer(stream=True).body)[-2]["variant_name"] == "local"


def test_a_stream_that_stalls_or_breaks_ends_with_an_error(server, up):
    up.pause = 1.0
    piece, error = events(server.infer(stream=True).body)
    assert piece["raw"] == ANSWER[: len(ANSWER) // 2] and error["error"]["code"] == "timeout"
    up.pause, up.breaks = 0.0, True
    assert events(server.infer(stream=True).body)[-1]["error"]["code"] == "no_connection"
    assert "broke off" in server.place.rows()[-1]["error"]

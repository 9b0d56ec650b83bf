"""A provider that times out, limits, breaks, cuts and bills: nothing is lost, nothing is bought twice, the budget holds."""

import random
import subprocess
import sys
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from chat_place import chat_place
from fault_server import IN, OUT, fault_server

from pp_resources.errors import UserError
from pp_resources.models.price import Price
from pp_resources.models.provider_table import Limits, Retries, Terms, Timeouts
from pp_resources.models.remote import Provider
from pp_resources.models.wire import billed
from pp_resources.settings import PROJECT_ROOT
from pp_resources.spending import metered

QUICK = Retries(most=4, first_pause=0.01, longest_pause=0.05)
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
PRICE = Price(1.0, 2.0, date(2026, 11, 1))
COST = PRICE.of(IN, OUT)


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def made(url: str, model: str = "m", **options: Any) -> Provider:
    options = {"terms": Terms(retries=QUICK, timeouts=Timeouts(connect=1.0, total=0.5))} | options
    return Provider(url, model, **options)


@pytest.mark.parametrize("fault", ["hangs", "limits", "limits_by_date", "errs", "drops", "breaks", "cuts", "cuts_late", "dribbles"])
def test_what_fails_once_is_answered_and_billed_once(fault: str, tmp_path: Path) -> None:
    with fault_server(fault) as server, metered() as meter:
        one = made(server.url, cache=tmp_path / "answers.sqlite", price=PRICE)
        reply = one.ask(said("hello"))
        assert (reply.text, reply.tokens_in, reply.tokens_out, reply.finish_reason) == ("HELLO", IN, OUT, "stop")
        assert len(server.asked) == 2 and one.ask(said("hello")) == reply._replace(cached=True)
        assert len(server.asked) == 2, "the kept answer was asked for"
        told = fault in ("breaks", "cuts_late")  # broken answers that say what they cost
        answers = 1 + (fault == "breaks")  # a whole answer that is broken is another one: it is billed again, and counted
        assert server.billed == answers * (IN + OUT)
        assert one.spent == (1 + told) * (IN + OUT) == meter.tokens_in + meter.tokens_out
        assert one.usd == pytest.approx((1 + told) * COST)
        assert one.unheard == (fault in ("hangs", "drops", "cuts", "dribbles"))


@pytest.mark.parametrize(
    ("body", "bill"),
    [
        ('{"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 57,', (10, 57)),
        ('{"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5', None),
        ('{"choices": [], "usage": {"prompt_tokens": 10, "comp', None),
        ('{"choices": [{"message": {"content": "prompt_tokens', None),
    ],
)
def test_a_broken_answer_says_what_it_cost_where_both_counts_are_whole(body: str, bill: tuple[int, int] | None) -> None:
    assert billed([body[:30].encode(), body[30:].encode()]) == bill


@pytest.mark.parametrize("fault", ["hangs", "cuts"])
def test_a_server_that_knows_no_key_of_a_request_bills_what_was_not_heard(fault: str) -> None:
    with fault_server(fault, keyed=False) as server:
        one = made(server.url)
        assert one.ask(said("hello")).text == "HELLO"
        assert server.billed == 2 * (IN + OUT) and one.spent == IN + OUT and one.unheard == 1, "it cannot be known, so it is told"


def test_tries_of_one_request_have_one_key_and_requests_of_their_own_others(tmp_path: Path) -> None:
    with fault_server("errs", "cuts") as server:
        one = made(server.url, cache=tmp_path / "a.sqlite")
        one.ask(said("a"))
        one.ask(said("a"), seed=1)
        made(server.url, cache=tmp_path / "b.sqlite").ask(said("a"))
        assert server.keys[0] == server.keys[1] == server.keys[2] == server.keys[4] != server.keys[3]
        free = made(server.url)
        free.ask(said("a"))
        free.ask(said("a"))
        assert len({*server.keys[4:]}) == 3, "where nothing is kept each request is a new one"


def test_many_faults_among_many_requests_lose_nothing(tmp_path: Path) -> None:
    rng = random.Random(7)
    plan = [rng.choice(["", "", "limits", "errs", "drops", "cuts", "breaks"]) for _ in range(60)]
    with fault_server(*plan) as server:
        server.wait = 0.02
        one = made(server.url, cache=tmp_path / "a.sqlite", terms=Terms(retries=Retries(most=20, first_pause=0.01, longest_pause=0.02)))
        texts = [f"text {i % 30}" for i in range(40)]
        replies = one.ask_all([said(text) for text in texts])
        assert [reply.text for reply in replies] == [text.upper() for text in texts]
        broken = plan.count("breaks")
        assert server.billed == (30 + broken) * (IN + OUT) == one.spent, "every bill is in the books once"
        again = made(server.url, cache=tmp_path / "a.sqlite")
        seen = len(server.asked)
        assert [reply.text for reply in again.ask_all([said(text) for text in texts])] == [text.upper() for text in texts]
        assert again.spent == 0 and len(server.asked) == seen


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("hangs", r"gives no answer in 0\.5 s; ask for fewer"),
        ("limits", "status 429.*slow down; try later"),
        ("errs", "status 503.*overloaded; try later"),
        ("drops", "does not answer"),
        ("breaks", "its answer is not JSON"),
        ("cuts", "does not answer"),
    ],
)
def test_what_fails_again_and_again_is_told(fault: str, words: str) -> None:
    with fault_server(*[fault] * 3) as server:
        server.wait = 0.01
        terms = Terms(retries=Retries(most=2, first_pause=0.01), timeouts=Timeouts(total=0.5))
        with pytest.raises(UserError, match=words):
            made(server.url, terms=terms).ask(said("hello"))
        assert len(server.asked) == 3


def test_the_server_says_when_to_come_back(tmp_path: Path) -> None:
    with fault_server("limits") as server:
        server.wait = 0.4
        made(server.url).ask_all([said("a"), said("b")])
        first, *_, last = server.times
        assert last - first >= 0.4
    with fault_server("limits") as server:
        server.wait = 500
        with pytest.raises(UserError, match=r"status 429.*asks to be left alone for 500 s"):
            made(server.url).ask(said("hello"))
        assert len(server.asked) == 1


def test_a_budget_of_tokens_or_dollars_is_kept_with_many_at_once(tmp_path: Path) -> None:
    asked = [said(f"{i:<40}") for i in range(40)]
    with fault_server() as server:
        one = made(server.url, budget=100, cache=tmp_path / "a.sqlite")
        with pytest.raises(UserError, match=r"the budget of 100 tokens is spent \(105\).*PP_PROVIDER_BUDGET"):
            one.ask_all(asked, max_tokens=OUT)
        assert server.billed == one.spent == 105, "one answer may go beyond, no second one"
        rich = made(server.url, price=PRICE, budget_usd=10 * COST, cache=tmp_path / "a.sqlite")
        with pytest.raises(UserError, match=r"US dollars is spent.*PP_PROVIDER_BUDGET_USD"):
            rich.ask_all(asked, max_tokens=OUT)
        assert rich.usd == pytest.approx(10 * COST) and server.billed == 17 * (IN + OUT)


def test_broken_answers_spend_the_budget_too() -> None:
    with fault_server(*["breaks"] * 5) as server:
        one = made(server.url, budget=30)
        with pytest.raises(UserError, match=r"the budget of 30 tokens is spent \(30\)"):
            one.ask(said("hello"))
        assert server.billed == one.spent == 30 and len(server.asked) == 2


def test_no_dollars_for_an_unpriced_model() -> None:
    with pytest.raises(UserError, match="is unpriced: a budget in US dollars cannot be kept"):
        made("http://127.0.0.1:1/v1", budget_usd=1.0)
    assert made("http://127.0.0.1:1/v1").usd is None


def test_a_server_that_counts_nothing_is_counted_for() -> None:
    with fault_server() as server:
        server.uncounted = True
        one = made(server.url)
        reply = one.ask(said("x" * 40))
        assert (reply.tokens_in, reply.tokens_out, one.spent) == (10, 10, 20)


@pytest.mark.parametrize(
    ("refused", "forms"),
    [(("json_schema",), ["json_schema", "json_object"]), (("json_schema", "json_object"), ["json_schema", "json_object", None])],
)
def test_a_refused_form_is_asked_for_one_step_lower_and_remembered(refused: tuple[str, ...], forms: list[str | None]) -> None:
    with fault_server() as server:
        server.refuses = refused
        one = made(server.url)
        one.ask(said("first"), schema=SCHEMA)
        one.ask(said("second"), schema=SCHEMA)
        other = made(server.url)
        other.ask(said("third"), schema=SCHEMA)
        asked = [(body.get("response_format") or {}).get("type") for body in server.asked]
        assert asked == [*forms, forms[-1], forms[-1]] and other.form == (forms[-1] or "none")
        assert '"required"' in server.asked[-1]["messages"][0]["content"] and server.asked[-1]["messages"][0]["role"] == "system"
        assert one.spent == 2 * (IN + OUT), "a refusal is no answer"


def test_a_refused_option_is_left_out_and_remembered() -> None:
    with fault_server() as server:
        server.untaken = {
            "temperature": "`temperature` is deprecated for this model.",
            "seed": 'Invalid JSON payload received. Unknown name "seed": Cannot find field.',
            "max_tokens": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        }
        one = made(server.url)
        assert one.ask(said("first"), max_tokens=7).text == "FIRST" and one.ask(said("second"), max_tokens=7).text == "SECOND"
        told = [sorted(body.keys() - {"model", "messages"}) for body in server.asked]
        assert told[0] == ["max_tokens", "seed", "temperature"] and told[3:] == [["max_completion_tokens"]] * 2
        assert one.spent == 2 * (IN + OUT) and len(set(server.keys)) == 5


def test_a_value_that_is_refused_is_no_field_that_is() -> None:
    with fault_server() as server:
        server.untaken = {"max_tokens": "max_tokens: 9000 > 8192, which is the most that this model supports"}
        with pytest.raises(UserError, match="9000 > 8192"):
            made(server.url).ask(said("x"), max_tokens=9000)
        assert len(server.asked) == 1


def test_another_refusal_is_no_reason_to_ask_for_less() -> None:
    with fault_server("too_long") as server:
        with pytest.raises(UserError, match=r"status 400.*the prompt is too long"):
            made(server.url).ask(said("x"), schema=SCHEMA)
        assert len(server.asked) == 1


def test_limits_of_a_minute_are_kept_on_this_side() -> None:
    with fault_server() as server:
        one = made(server.url, "per-minute", terms=Terms(limits=Limits(requests_per_minute=240, at_once=3)))
        one._known.rate._requests.level = 2.0  # nearly empty: 4 requests a second are filled in
        began = time.monotonic()
        one.ask_all([said(f"{i}") for i in range(5)])
        assert time.monotonic() - began >= 0.7 and server.most <= 3
        tokens = made(server.url, "tokens", terms=Terms(limits=Limits(tokens_per_minute=1500)))
        tokens._known.rate._tokens.level = 10.0
        began = time.monotonic()
        tokens.ask_all([said(f"{i}") for i in range(3)], max_tokens=OUT)
        assert time.monotonic() - began >= 0.3, "25 tokens a second"


def test_equal_requests_of_two_processes_are_bought_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pp_resources.models.remote import Provider\n"
        "one = Provider(sys.argv[1], 'm', cache=Path(sys.argv[2]))\n"
        "print(*[r.text for r in one.ask_all([[{'role': 'user', 'content': f't{i}'}] for i in range(12)])])"
    )
    with fault_server(keyed=False) as server:
        command = [sys.executable, "-c", code, server.url, str(tmp_path / "a.sqlite")]
        runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT_ROOT) for _ in range(2)]
        assert {run.communicate(timeout=60)[0].strip() for run in runs} == {" ".join(f"T{i}" for i in range(12))}
        assert server.billed == 12 * (IN + OUT) and len(server.asked) == 12


def test_equal_requests_of_threads_are_bought_once(tmp_path: Path) -> None:
    with fault_server(keyed=False) as server:
        providers = [made(server.url, cache=tmp_path / "a.sqlite") for _ in range(4)]
        threads = [threading.Thread(target=one.ask, args=(said("the same"),)) for one in providers * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.asked) == 1 and sum(one.spent for one in providers) == IN + OUT


def test_our_own_gateway_is_a_provider(tmp_path: Path) -> None:
    with chat_place(tmp_path) as (gateway, up):
        one = made(f"{gateway.url}/v1", "writer", cache=tmp_path / "a.sqlite", terms=Terms(retries=QUICK))
        reply = one.ask(said("Write to them."))
        assert reply.text == up.text and one.ask(said("Write to them.")).cached and len(up.seen) == 1
        up.fail = [503]
        assert one.ask(said("Again.")).text == up.text and len(up.seen) == 3, "what fails behind the gateway is tried again"
        task = made(f"{gateway.url}/v1", "support-triage", terms=Terms(retries=QUICK))
        assert task.ask(said("Where is my kettle?")).text == up.text
        with pytest.raises(UserError, match="status 404"):
            made(f"{gateway.url}/v1", "nobody").ask(said("x"))

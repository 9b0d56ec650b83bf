"""The LangGraph application against a running gateway: a conversation is one episode, what people do becomes feedback in the store."""

import io
import json
import re

import openai
import pytest
from chat_place import LATE, RIGHT, TASK, chat_place
from gateway_place import closed_port
from test_support_chat_population import rows

from examples.support_chat import replies, signals
from examples.support_chat.__main__ import main
from examples.support_chat.checks import Checks
from examples.support_chat.gateway import Answer, Gateway
from examples.support_chat.measures import ESCALATED, RELEVANCE, SECONDS
from examples.support_chat.population import population
from examples.support_chat.reactions import Habits
from examples.support_chat.terminal import talk
from pp_assets.task.contract.files import load_contract
from pp_assets.task.spec import load_task
from pp_resources.errors import UserError
from pp_resources.settings import PROJECT_ROOT
from pp_resources.store.opened import open_store
from pp_resources.store.read_feedback import feedback_since
from pp_resources.store.statistics import score_of

pytest.importorskip("langgraph", reason="the extra 'examples' is not installed: pip install 'promptprecision[examples]'")
from examples.support_chat.chat import SupportChat
from examples.support_chat.simulate import simulate, summary


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with chat_place(tmp_path_factory.mktemp("chat")) as made:
        yield made


@pytest.fixture
def up(served):
    one = served[1]
    yield one
    one.text, one.fail = json.dumps(RIGHT), []


def client(url, **more):
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", **{"max_retries": 0, **more})


def make(served, answering=None, **checks):
    contract = load_contract(load_task(TASK, PROJECT_ROOT / "tasks"))
    return SupportChat(Gateway(client(served[0].url), TASK, answering), Checks(contract=contract, **checks), clock=lambda: 100.0)


@pytest.fixture
def chat(served):
    return make(served)


def store(served):
    return open_store(served[0].place.settings.home)


def kept(served, episode):
    """(metric, value) of all feedback of an episode or its inferences, oldest first."""
    ids = {row["id"] for row in served[0].place.rows() if row["episode"] == episode}
    found = [one for one in feedback_since(store(served)) if one.episode == episode or one.inference in ids]
    return [(one.metric or one.kind, one.value if one.value is not None else one.comment or one.output) for one in found]


def test_a_conversation_is_one_episode_and_meets_one_variant(served, chat):
    met = set()
    for number in range(8):
        episode = f"talk-{number}"
        for text in (LATE, "No, it is the kettle with order #48213."):
            turn = chat.say(episode, text, subject="person-1", seconds=5.0)
        rows = [row for row in served[0].place.rows() if row["episode"] == episode]
        assert len(rows) == 2 and len({row["variant"] for row in rows}) == 1 == len({row["subject"] for row in rows})
        assert turn.answer.inference == rows[1]["id"] and json.loads(rows[0]["tags"]) == {"app": "support-chat"}
        met.add(rows[0]["variant"])
        chat.leave(episode)
    assert met == {"first", "second"}


def test_an_answer_that_passes_is_delivered_in_words(served, chat):
    turn = chat.say("fine", LATE)
    assert turn.delivered and turn.answer.output == RIGHT and turn.verdict.score == 1.0 and turn.verdict.unknown == ("confidence",)
    assert turn.reply == "I see, it is about a delivery (kettle), order #48213. The desk reads it within a working day. Is that right?"
    assert kept(served, "fine") == [(ESCALATED, 0.0)]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (RIGHT | {"order_id": "#99999"}, "contract score 0.83 below 0.99"),
        (RIGHT | {"category": "complaints"}, "not the agreed form"),
        (RIGHT | {"wants_human": True}, "the customer asks for a person"),
    ],
)
def test_what_does_not_pass_goes_to_a_person(served, up, chat, said, reason):
    up.text = json.dumps(said)
    episode = f"handed-{reason[:8].replace(' ', '-')}"
    turn = chat.say(episode, LATE)
    assert not turn.delivered and reason in turn.verdict.reasons and turn.reply == replies.PERSON
    comment, escalated = kept(served, episode)
    assert reason in comment[1] and escalated == (ESCALATED, 1.0)
    up.text = json.dumps(RIGHT)
    assert chat.say(episode, "it is " + LATE, seconds=3.0).delivered
    assert kept(served, episode)[2:] == [], "it stays an escalated conversation, and nobody read the first answer"


def test_where_nothing_answers_a_person_takes_over(served, up, chat):
    up.fail = [500, 500]
    turn = chat.say("nothing", LATE)
    assert turn.answer is None and turn.reply == replies.GONE and "no answer" in turn.verdict.reasons[0]
    assert kept(served, "nothing") == [(ESCALATED, 1.0)]


def test_confidence_and_the_gateway_s_own_word_are_heeded():
    answer = Answer("i", "e", "v", RIGHT, True, 0.4)
    assert Checks(0.3).verdict(LATE, answer).passed and Checks(0.3).verdict(LATE, answer).unknown == ("contract score",)
    assert Checks(0.5).verdict(LATE, answer).reasons == ("confidence 0.40 below 0.50",)
    assert Checks(0.0).verdict(LATE, Answer("i", "e", "v", RIGHT, True, 0.4, "confidence")).reasons == ("the gateway: confidence",)


def test_the_next_message_tells_what_the_answer_was_worth(served, chat):
    chat.say("next", LATE)
    chat.say("next", "No, I am asking where my kettle of #48213 is", seconds=12.5)
    assert kept(served, "next")[1:] == [(SECONDS, 12.5), (RELEVANCE, 0.0)]
    turn = chat.say("next", "thanks!")
    assert turn.reply == replies.BYE and kept(served, "next")[3:] == [(SECONDS, 0.0), (RELEVANCE, 1.0)], "seconds by the chat's clock"
    assert len([row for row in served[0].place.rows() if row["episode"] == "next"]) == 2, "thanks need no answer"


def test_words_decide_before_vectors_and_what_is_between_is_unknown(served):
    def never(_a, _b):
        raise AssertionError

    assert signals.understood("a", "No, not that", never) is False and signals.understood("a", "thank you", never) is True
    for near, found in ((0.9, False), (0.3, None), (0.0, True)):
        assert signals.understood("a", "my lamp is broken", lambda _a, _b, near=near: near) is found
    assert not signals.is_thanks("Thanks, but where is my refund?")
    near = Gateway(client(served[0].url), TASK).similarity
    assert signals.understood(LATE, "where is the kettle of order #48213, it was due monday", near) is False


def test_feedback_is_of_the_last_answer_and_counts_once(served, chat):
    turn = chat.say("said", LATE, subject="person-2")
    body = {"metric_name": "intent_accuracy", "value": False, "idempotency_key": "said-1"}
    for _ in range(2):
        chat.feedback("said", body)
    chat.feedback("said", {"metric_name": "demonstration", "value": RIGHT | {"priority": "high"}})
    chat.feedback("said", {"metric_name": "resolution", "value": True, "episode_id": "said"})
    assert [metric for metric, _ in kept(served, "said")] == [ESCALATED, "intent_accuracy", "demonstration", "resolution"]
    assert {one.inference for one in feedback_since(store(served), kind="demonstration")} >= {turn.answer.inference}
    assert {one.subject for one in feedback_since(store(served)) if one.episode == "said"} == {"person-2"}
    with pytest.raises(UserError, match="breaks the schema"):
        chat.feedback("said", {"metric_name": "demonstration", "value": {"category": "x"}})
    assert not chat.unsent and chat.say("said", LATE).delivered, "a refusal does not end the conversation"


def test_feedback_waits_while_the_gateway_is_away(served):
    chat = make(served)
    chat.say("away", LATE)
    there, chat.gateway.client = chat.gateway.client, client(f"http://127.0.0.1:{closed_port()}")
    chat.feedback("away", {"metric_name": "intent_accuracy", "value": True})
    assert chat.say("away", LATE).reply == replies.GONE and len(chat.unsent) >= 2
    chat.gateway.client = there
    chat.feedback("away", {"metric_name": "resolution", "value": False, "episode_id": "away"})
    found = kept(served, "away")
    assert not chat.unsent and ("intent_accuracy", 1.0) in found and found[-1] == ("resolution", 0.0)


def test_a_model_writes_the_reply_where_one_is_configured(served, up):
    turn = make(served, answering="writer").say("written", LATE, subject="p")
    assert turn.delivered and turn.reply == json.dumps(RIGHT), "the stub says the same whatever it is asked"
    assert {row["task"] for row in served[0].place.rows() if row["episode"] == "written"} == {TASK, "writer"}
    writer = Gateway(client(served[0].url), TASK, "writer")
    up.text = json.dumps({"reply": "We look for your kettle."})
    assert writer.write(LATE, "nothing", "written") == "We look for your kettle.", "a task that answers"
    assert up.seen[-1]["messages"][0]["content"].endswith("What is known: nothing")
    up.fail = [500]
    assert make(served, answering="writer").answer({"understood": {"output": RIGHT}, "text": LATE, "episode": "written"}) == {
        "reply": replies.reply(RIGHT)
    }
    assert Gateway(client(served[0].url), TASK).write(LATE, "nothing", "written") is None


def test_simulated_customers_leave_what_they_said_in_the_store(served):
    triage = load_task(TASK, PROJECT_ROOT / "tasks")
    visits = list(population(triage, 2, 12, rows=rows()))
    chat = make(served, least_score=0.0)
    outcomes = simulate(chat, visits, Habits(answers=1.0, complains=1.0, mistaken=0.0, closes=1.0, rates=1.0, clicks=1.0))
    told = summary(outcomes, unsent=len(chat.unsent), refused=len(chat.refused))
    assert told["conversations"] == 12 and told["feedback_unsent"] == told["feedback_refused"] == 0 and told["truth"]["all"]["n"] == 12
    assert told["truth"]["before_drift"]["n"] == told["truth"]["after_drift"]["n"] == 6
    episodes = {visit.episode for visit in visits}
    found = [one for one in feedback_since(store(served)) if one.episode in episodes and one.metric == "resolution"]
    assert len(found) == 12
    by_answer = {one.inference: one.value for one in feedback_since(store(served), in_force=True) if one.metric == "intent_accuracy"}
    last = {row["episode"]: row["id"] for row in served[0].place.rows()}
    for outcome in outcomes:
        if outcome.delivered:
            assert by_answer[last[outcome.visit.episode]] == float(outcome.right), "who never errs says what holds"


def test_a_talk_on_the_terminal(served):
    lines = [LATE, "/no", '/fix {"category": 3}', f"/fix {json.dumps(RIGHT)}", "/fix [", "/stars 9", "/solved", "/nope", "/quit", "never"]
    out = io.StringIO()
    assert talk(make(served), io.StringIO("\n".join(["/yes", *lines])), out) == 0
    said = out.getvalue()
    assert "there is no answer yet" in said and "I see, it is about a delivery" in said and said.count("(noted)") == 3
    assert "breaks the schema" in said and "a JSON object" in said and "says nothing" in said and "never" not in said
    out = io.StringIO()
    talk(make(served), io.StringIO(f"{LATE}\n/yes"), out, as_json=True)
    first, turn, noted = map(json.loads, out.getvalue().splitlines())
    assert turn["answer"]["output"] == RIGHT and turn["episode"] == first["episode_id"] and noted["noted"]["value"] is True


def test_the_command_tells_what_is_wrong_in_one_line(served, capsys, monkeypatch, tmp_path):
    settings = served[0].place.settings
    monkeypatch.setenv("PP_TASKS", str(settings.tasks))
    assert main(["--simulate", "3", "--url", served[0].url]) == 2 and "no rows are held back" in capsys.readouterr().err
    assert main(["--simulate", "0"]) == 2 and "from 1 on" in capsys.readouterr().err
    assert main(["--metrics", "--json"]) == 2 and "there is no store yet" in json.loads(capsys.readouterr().out)["error"]
    assert main(["--task", "nothing", "--simulate", "1"]) == 2 and "nothing" in capsys.readouterr().err
    assert main(["--graph"]) == 0 and "hand_off --> listen" in capsys.readouterr().out
    monkeypatch.setenv("PP_HOME", str(settings.home))
    assert main(["--metrics", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    scores = {(score.variant, score.metric): score for score in score_of(store(served), task=TASK)}
    for one in found["metrics"]:
        if one["variant"] is not None and one["n"]:
            score = scores[one["variant"], one["metric"]]
            assert (one["n"], one["value"]) == (score.n, pytest.approx(score.mean))
    assert main(["--metrics"]) == 0 and "by episode" in capsys.readouterr().out


def test_the_picture_in_the_readme_is_the_graph(chat):
    text = (PROJECT_ROOT / "examples" / "support_chat" / "README.md").read_text("utf-8")
    drawn = {(edge.source, edge.target) for edge in chat.graph.get_graph().edges}
    told = {tuple(line.split(" --> ")) for line in text.partition("```mermaid")[2].partition("```")[0].splitlines() if " --> " in line}
    plain = {(a.strip().partition("[")[0], re.split(r"[\[{]", b.strip())[0]) for a, b in told}
    assert plain == {(a.strip("_"), b.strip("_")) for a, b in drawn}

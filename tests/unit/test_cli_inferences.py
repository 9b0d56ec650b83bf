"""`pp inferences`: answers as they are in the store, page by page and one by one, with what was said of them."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import command_line
from gateway_place import ask, running
from queue_place import SAID, SCHEMA, TEXT, queue_place
from store_rows import AT, inference
from upstream_stub import stub

from pp_assets.serving.spec import Redact
from pp_gateway.serve.logbook import Redactor
from pp_resources.store.ids import MICRO, iso
from pp_resources.store.opened import Store, open_store
from pp_resources.store.rows import Feedback, Inference


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An installation that serves the task "toy" by the variant "remote", and has kept nothing."""
    queue_place(tmp_path)
    (tmp_path / "home").rename(tmp_path / "pp")
    return tmp_path


@pytest.fixture
def pp(home: Path, capfd: pytest.CaptureFixture[str]):
    return command_line(home, capfd)


@pytest.fixture
def store(home: Path) -> Store:
    return open_store(home / "pp")


def answer(number: int, **more: Any) -> Inference:
    """A valid one of the task's variant, a second after the one before."""
    return inference(number, **({"at": AT + number * MICRO, "task": "toy", "variant": "remote", "valid": True} | more))


def ids(said: Any) -> list[str]:
    assert said.code == 0, said.err
    return [one["id"] for one in said.json["items"]]


def test_where_nothing_was_kept_the_list_is_empty_and_nothing_is_made(pp, home):
    before = sorted(home.rglob("*"))
    assert pp("inferences", "list", "toy", "--json").json == {"task": "toy", "items": [], "next": None}
    assert pp("inferences", "list", "toy", "-v", "remote").out == "toy: no inferences match\n"
    assert pp("inferences", "show", "i1").code == 2 and pp("inferences", "list", "toy", "-v", "remot").code == 2
    assert sorted(home.rglob("*")) == before


def test_pages_hold_every_answer_once_the_newest_first(pp, store):
    store.write_many([answer(n, at=AT + n // 3) for n in range(23)])
    pages, cursor = [], []
    for number in range(5):
        page = pp("inferences", "list", "toy", "--limit", "5", *cursor, "--json")
        pages.append(ids(page))
        assert (page.json["next"] is None) == (number == 4)
        cursor = ["--before", page.json["next"]]
        store.write(answer(100 + number, at=AT + 10**9))  # newer than all pages
    assert [len(page) for page in pages] == [5, 5, 5, 5, 3]
    found = [(AT + int(id[1:]) // 3, id) for page in pages for id in page]
    assert len(set(found)) == 23 and all(one > other for one, other in pairwise(found))
    shown = pp("inferences", "list", "toy", "--limit", "6").out
    assert f"older ones: --before {AT + 7}:i22" in shown and "i21" not in shown, "the five that came meanwhile and i22"
    assert pages[0][1:] == ids(pp("inferences", "list", "toy", "--limit", "4", "--before", f"{AT + 7}:i22", "--json"))


def test_filters_leave_what_matches_all_of_them(pp, store):
    store.write_many(
        [
            answer(0, episode="e1", subject="ann"),
            answer(1, episode="e1", valid=False),
            answer(2, subject="ann", error="the upstream is down", output=None, valid=None),
            answer(3, variant="gone", shadow=True, subject="ann"),
            answer(4, task="other"),
        ]
    )
    for filters, expected in (
        ((), ["i3", "i2", "i1", "i0"]),
        (("--bad",), ["i2", "i1"]),
        (("--variant", "gone"), ["i3"]),
        (("--episode", "e1"), ["i1", "i0"]),
        (("--subject", "ann"), ["i3", "i2", "i0"]),
        (("--shadow",), ["i3"]),
        (("--no-shadow", "--subject", "ann"), ["i2", "i0"]),
        (("--since", iso(AT + MICRO), "--until", iso(AT + 3 * MICRO)), ["i2", "i1"]),
        (("--since", iso(AT + MICRO).removesuffix("+00:00"), "--bad", "--episode", "e1"), ["i1"]),
        (("--until", "2001-01-01"), []),
    ):
        assert ids(pp("inferences", "list", "toy", *filters, "--json")) == expected, filters


def test_the_table_tells_what_went_wrong_and_shows_the_beginning_of_an_input(pp, store):
    long = "Where is\nmy order? " * 50
    store.write_many(
        [
            answer(1, input=long, confidence=0.4137, latency_ms=12.3),
            answer(2, valid=False, shadow=True),
            answer(3, error="the upstream is down", output=None, valid=None),
            answer(4, valid=None, input="[bold]no markup[/bold]"),
        ]
    )
    checked, failed, broken, sound = pp("inferences", "list", "toy").out.splitlines()[2:]
    assert "not checked" in checked and "[bold]no markup[/bold]" in checked
    assert "error: the upstream is down" in failed and "remote (shadow)" in broken and "invalid" in broken
    assert sound.split()[:6] == ["i1", iso(AT + MICRO)[:19], "remote", "valid", "0.414", "12"]
    assert sound.rstrip().endswith("Where is my order? Where is my order? Where is my order? Wh…")


def test_an_answer_is_shown_whole_with_the_feedback_that_counts(pp, store):
    decision = {"basis": "evidence", "weights": {"remote": 0.7, "big": 0.3}, "id": "d1", "version": "v" * 16, "package": "p" * 64}
    failed = {"variant": "big", "code": "timeout", "error": "took longer than 3 s"}
    row = answer(
        1,
        input=TEXT,
        output=json.dumps(SAID),
        episode="e1",
        subject="ann",
        confidence=0.41,
        latency_ms=12.34,
        tokens_in=40,
        tokens_out=9,
        cost=0.00012,
        tags={"lang": "en"},
        config="c1",
        decision=decision,
        chain=[failed],
    )
    said = [
        Feedback(kind="boolean", metric="right", inference="i1", value=0, source="bob"),
        Feedback(kind="boolean", metric="right", inference="i1", value=1, comment="it is", source="cy"),
        Feedback(kind="demonstration", inference="i1", output='{"category": "refund"}', source="queue:ann"),
        Feedback(kind="comment", inference="i1", comment="slow", source="bob"),
        Feedback(kind="comment", inference="i2", comment="of another", source="bob"),
    ]
    store.write_many([row, answer(2, output="no json"), *said])
    told = pp("inferences", "show", "i1", "--json").json
    assert (told["output"], told["raw"], told["at"]) == (SAID, row.output, iso(row.at))
    same = ("id", "task", "variant", "input", "decision", "chain", "tokens_in", "tokens_out", "cost", "latency_ms", "confidence", "tags")
    assert {name: told[name] for name in same} == {name: getattr(row, name) for name in same}
    assert [(one["kind"], one["value"], one["comment"], one["output"], one["source"], one["counts"]) for one in told["feedback"]] == [
        ("boolean", 0.0, None, None, "bob", False),
        ("boolean", 1.0, "it is", None, "cy", True),
        ("demonstration", None, None, {"category": "refund"}, "queue:ann", True),
        ("comment", None, "slow", None, "bob", True),
    ]
    shown = pp("inferences", "show", "i1").out
    for words in (
        TEXT,
        str(row.output),
        f"version {'v' * 16}, package {'p' * 64}, configuration c1",
        "evidence; weights remote 0.700, big 0.300; decision d1",
        "big could not answer: timeout: took longer than 3 s",
        "40 in, 9 out",
        "0.00012 US dollars",
        "12.3 ms",
        "lang: en",
    ):
        assert words in shown
    judged = [line.split()[1:] for line in shown.splitlines()[-4:]]
    assert judged[0] == ["bob", "answer", "right", "0", "no"] and judged[1] == ["cy", "answer", "right", "1", "it", "is", "yes"]
    assert judged[2] == ["queue:ann", "answer", "demonstration", '{"category":', '"refund"}', "yes"]
    bare = pp("inferences", "show", "i2", "--json").json
    assert (bare["raw"], bare["output"], bare["feedback"][0]["comment"]) == ("no json", None, "of another")


def test_what_an_answer_lacks_is_no_zero(pp, store):
    store.write(answer(1, output=None, error="the upstream is down", valid=None, cost=None, latency_ms=None))
    shown = dict(line.split(maxsplit=1) for line in pp("inferences", "show", "i1").out.splitlines() if line)
    assert (shown["answer"], shown["output"]) == ("error: the upstream is down", "–")
    assert (shown["cost"], shown["latency"], shown["tokens"], shown["no"]) == ("unpriced", "–", "– in, – out", "feedback")


def test_what_was_said_of_its_episode_is_shown_and_no_stored_text_steers_the_terminal(pp, store):
    rows = [answer(1, episode="e1", input="\x1b]52;c;aGk=\x07 hi"), answer(2, episode="e2")]
    said = [Feedback(kind="comment", episode=f"e{n}", comment=f"of e{n}\x1b[2J") for n in (1, 2)]
    store.write_many([*rows, *said])
    shown = pp("inferences", "show", "i1")
    assert "\ufffd]52;c;aGk=\ufffd hi" in shown.out and "of e1\ufffd[2J" in shown.out and "of e2" not in shown.out
    (one,) = pp("inferences", "show", "i1", "--json").json["feedback"]
    assert (one["of"], one["comment"]) == ("episode", "of e1\x1b[2J")
    assert "\x1b" not in pp("inferences", "list", "toy").out


def test_what_was_masked_stays_masked(pp, store):
    mask = Redactor([Redact(kinds=["email"])]).row
    row = mask(answer(1, input="I am ann@example.com", output='{"from": "ann@example.com"}', tags={"who": "ann@example.com"}))
    store.write_many([row, mask(Feedback(kind="comment", inference="i1", comment="write to ann@example.com"))])
    for words in (("list", "toy"), ("list", "toy", "--json"), ("show", "i1"), ("show", "i1", "--json")):
        said = pp("inferences", *words).out
        assert "I am [EMAIL" in said and "ann@example.com" not in said


def test_a_gateway_s_answer_is_listed_and_tells_who_failed_before(tmp_path, capfd, monkeypatch):
    with stub(json.dumps(SAID)) as up:
        place = queue_place(tmp_path)
        other = {"kind": "remote", "url": "http://127.0.0.1:9/v1", "model": "none", "retries": {"most": 0}}
        priced = {"kind": "remote", "url": up.url, "model": "m", "price_in": 1.0, "price_out": 2.0}
        routing = {"metric": "right", "champion": "gone", "weights": {"gone": 1.0}}
        serving = {"variants": {"gone": other, "up": priced}, "routing": routing, "fallbacks": ["up"]}
        gateway = {"models": {"bare": {"url": up.url, "model": "m"}}}
        place.write(serving, gateway, io_schema={"output": SCHEMA}, gates=[], limits={"max_input_chars": 2000})
        with running(place) as server:
            told = server.infer(TEXT, tags={"lang": "en"}).json
            ask(server.url, "/feedback", {"inference_id": told["inference_id"], "metric_name": "right", "value": True})
            ask(server.url, "/v1/chat/completions", {"model": "bare", "messages": [{"role": "user", "content": "Hi"}]})
    pp = command_line(tmp_path, capfd)
    monkeypatch.setenv("PP_HOME", str(place.settings.home))
    assert ids(pp("inferences", "list", "toy", "--variant", "up", "--json")) == [told["inference_id"]]
    assert pp("inferences", "list", "toy", "--variant", "gone", "--json").json["items"] == [], "it is one, but it never answered"
    found = pp("inferences", "show", told["inference_id"], "--json").json
    assert found["output"] == SAID and found["chain"] == told["fallbacks"] and found["cost"] == pytest.approx(2e-5)
    assert [(one["metric"], one["value"], one["counts"]) for one in found["feedback"]] == [("right", 1.0, True)]
    shown = pp("inferences", "show", told["inference_id"]).out
    assert "gone could not answer: " in shown and "static; weights gone 1.000" in shown and found["decision"]["version"] in shown
    (bare,) = pp("inferences", "list", "bare", "--json").json["items"]
    assert bare["variant"] == "m" and json.loads(bare["input"])[0]["content"] == "Hi", "a remote model that is no task's"


def test_rows_of_a_task_that_is_gone_or_broken_can_be_looked_at(pp, store, home):
    store.write(answer(1))
    file = home / "tasks" / "toy" / "task.json"
    file.write_text(yaml.safe_dump({"version": 9}))
    assert ids(pp("inferences", "list", "toy", "--json")) == ["i1"]
    file.unlink()
    assert ids(pp("inferences", "list", "toy", "-v", "remote", "--json")) == ["i1"]
    assert "did you mean 'remote'?" in pp("inferences", "list", "toy", "-v", "remot").err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "i9"], "ID: no inference 'i9'; 'pp inferences list TASK' shows them"),
        (["list", "tyo"], "unknown task 'tyo'; did you mean 'toy'?"),
        (["list", "toy", "-v", "remot"], "--variant: 'remot' is no variant of toy; did you mean 'remote'?"),
        (["list", "toy", "--before", "i1"], "--before: 'i1' is no cursor; give the `next` of an earlier page"),
        (["list", "toy", "--before", f"{'9' * 30}:i1"], "is no cursor"),
        (["list", "toy", "--since", "yesterday"], "--since: 'yesterday' is no time; write ISO 8601"),
        (["list", "toy", "--until", "2026-13-01"], "--until: '2026-13-01' is no time"),
        (["list", "toy", "--limit", "0"], "Invalid value for '--limit'"),
    ],
)
def test_what_is_at_fault_is_told_in_one_line(pp, store, words, said):
    store.write(answer(1))
    found = pp("inferences", *words)
    assert found.code == 2 and said in found.err and found.err.count("\n") == 1

"""The acceptance counts of experiments: what is called, how often, and what is not."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from pp_assets.experiment import CellStore, Experiment, Out, Price, Refused, op
from pp_assets.experiment import grid as grids
from pp_resources.errors import UserError


class Calls(Counter):
    """Counts; of no consequence for what a function gives, which `identity` tells the fingerprint."""

    identity = "counter"


CALLS = Calls()
ROWS = [{"id": f"r{i}", "text": f"text {i}", "wanted": f"text {i} by a, answer 0"} for i in range(5)]


class Model:
    """Answers differently each time, and counts."""

    def __init__(self, name: str, price: Price | None = None) -> None:
        self.name, self.identity = name, f"counting model {name}"
        if price is not None:
            self.price = price


A, B, C = (Model(name) for name in "abc")


@op(version="1")
def answer(model, text):
    CALLS["answer"] += 1
    said = f"{text} by {model.name}, answer {CALLS[model.name, text]}"
    CALLS[model.name, text] += 1
    return said


def right(answer, wanted):
    CALLS["right"] += 1
    return answer == wanted


def length(answer):
    CALLS["length"] += 1
    return len(answer)


@pytest.fixture(autouse=True)
def fresh():
    CALLS.clear()


@pytest.fixture
def exp(tmp_path):
    return made(tmp_path)


def made(folder: Path, rows=ROWS, models=(A, B, C)) -> Experiment:
    return Experiment(rows, store=folder / "cells.db").vary(model=list(models)).step("answer", answer).score(right, length).trials(2)


def test_nothing_is_computed_before_run_and_nothing_twice(exp):
    assert exp.plan().counts == {"answer": 30, "right": 30, "length": 30} and not CALLS
    results = exp.run()
    assert results.computed == {"answer": 30, "right": 30, "length": 30}
    assert (CALLS["answer"], CALLS["right"] + CALLS["length"]) == (30, 60)
    assert exp.plan().calls == 0 and exp.run().computed == {"answer": 0, "right": 0, "length": 0}
    assert (CALLS["answer"], CALLS["right"] + CALLS["length"]) == (30, 60)


def test_more_trials_and_more_inputs_cost_what_is_new(exp, tmp_path):
    exp.run()
    assert exp.trials(5).run().computed == {"answer": 45, "right": 45, "length": 45}
    more = made(tmp_path, [*ROWS, {"id": "new", "text": "another", "wanted": ""}]).trials(5)
    assert more.plan().counts["answer"] == 15
    assert more.run().computed == {"answer": 15, "right": 15, "length": 15}


def test_another_model_costs_its_own_cells(tmp_path):
    made(tmp_path, models=[A, B]).run()
    assert made(tmp_path).run().computed["answer"] == 10


def test_order_and_repetition_of_rows_cost_nothing_and_add_no_items(exp, tmp_path):
    exp.run()
    again = made(tmp_path, ROWS[::-1] + ROWS)
    results = again.run()
    assert results.computed == {"answer": 0, "right": 0, "length": 0} and len(results.df) == 30


def test_an_edited_scorer_scores_again_and_calls_no_model(exp):
    exp.run()
    before = exp.run()

    def right(answer, wanted):
        CALLS["right"] += 1
        return str(answer).lower() == wanted and answer.endswith("0")

    exp.score(right)
    plan = exp.plan()
    assert plan.counts == {"answer": 0, "right": 30, "length": 0}
    assert any("computed by other code" in why and "right" in why for why in plan.explain("right"))
    after = exp.run()
    assert after.computed == {"answer": 0, "right": 30, "length": 0}
    assert len(after.versions("right")) == 2
    flipped = after.diff_scores("right", old=after.versions("right")[0][:6])
    assert len(flipped) == int((before.df["right"] != after.df["right"]).sum())


def test_summaries_compute_nothing(exp):
    results = exp.run()
    CALLS.clear()
    assert not results.df["length"].isna().any() and results.df.groupby("model")["right"].mean()["a"] == 0.5
    assert results.trials_used().tolist() == [2] * 15 and not CALLS


def test_an_edited_helper_of_one_model_costs_that_model_alone(tmp_path):
    def helped(suffix):
        def help_it(text):
            return text + suffix

        def first(text):
            CALLS["first"] += 1
            return help_it(text)

        return first

    def second(text):
        CALLS["second"] += 1
        return text

    def run(first):
        def ask(model, text):
            return model(text)

        exp = Experiment(ROWS, store=tmp_path / "cells.db").vary(model=[first, second]).step("ask", ask)
        return exp.run().computed["ask"]

    assert run(helped("!")) == 10 and run(helped("!")) == 0
    assert run(helped("?")) == 5
    assert CALLS == {"first": 10, "second": 5}


def test_models_never_share_answers_and_types_differ(tmp_path):
    one = made(tmp_path, models=[A]).run().df["answer"].tolist()
    other = made(tmp_path, models=[B]).run().df["answer"].tolist()
    assert not set(one) & set(other)

    def kind(value):
        return type(value).__name__

    rows = [{"id": i, "value": value} for i, value in enumerate([1, "1", 1.0, True, None])]
    found = Experiment(rows, store=tmp_path / "kinds.db").step("kind", op(kind, sampled=False)).run()
    assert found.df["kind"].tolist() == ["int", "str", "float", "bool", "NoneType"] and found.computed == {"kind": 5}


def test_at_temperature_0_there_is_one_trial(tmp_path):
    def ask(text, temperature):
        CALLS["ask"] += 1
        return f"{text} {temperature} {CALLS['ask']}"

    exp = Experiment(ROWS, store=tmp_path / "cells.db").vary(temperature=[0.0, 0.7]).step("ask", ask).trials(3)
    results = exp.run()
    assert results.computed == {"ask": 5 + 15}
    assert results.df.groupby("temperature").size().to_dict() == {0.0: 5, 0.7: 15}


def test_equal_answers_share_a_score(tmp_path):
    def same(model, text):
        return "the same"

    exp = Experiment(ROWS, store=tmp_path / "cells.db").vary(model=["a", "b"]).step("answer", same).score(length).trials(4)
    results = exp.run()
    assert results.computed == {"answer": 40, "length": 1} and results.df["length"].tolist() == [8.0] * 40


def test_an_error_is_a_row_of_its_own_and_is_asked_again(tmp_path):
    ready = set()

    @op(version="1", sampled=False)
    def flaky(text):
        CALLS["flaky"] += 1
        if text == "text 1" and not ready:
            raise ConnectionError("no answer")
        if text == "text 2":
            raise Refused("I would rather not")
        return text

    exp = Experiment(ROWS, store=tmp_path / "cells.db").step("answer", flaky).score(length)
    results = exp.run()
    assert results.df["status"].tolist() == ["done", "failed", "refused", "done", "done"]
    assert results.errors["error"].tolist() == ["ConnectionError: no answer", "Refused: I would rather not"]
    assert results.df["length"].isna().tolist() == [False, True, True, False, False], "a failure is never scored"
    assert "1 failed before and are asked again" in exp.plan().explain("answer")[0]
    ready.add(True)
    again = exp.run()
    assert again.computed == {"answer": 1, "length": 1} and again.df["status"].tolist() == ["done", "done", "refused", "done", "done"]
    assert CALLS["flaky"] == 6


def test_a_call_that_fails_for_a_while_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr("pp_assets.experiment.calls.FIRST_PAUSE", 0.001)

    @op(version="1", retries=3, sampled=False)
    def shaky(text):
        CALLS[text] += 1
        if CALLS[text] < 3:
            raise TimeoutError
        return text

    assert Experiment(ROWS, store=tmp_path / "c.db").step("a", shaky).run().df["status"].eq("done").all()
    assert set(CALLS.values()) == {3}


def test_the_first_error_ends_the_run_where_asked(tmp_path):
    def broken(text):
        raise ValueError("broken")

    exp = Experiment(ROWS, store=tmp_path / "c.db").step("answer", broken)
    with pytest.raises(UserError, match="ValueError: broken"):
        exp.run(on_error="raise")


def test_answers_in_batches_are_cells_like_others(tmp_path):
    sizes = []

    @op(version="1", batch=("texts", 2), sampled=False)
    def many(model, texts):
        sizes.append(len(texts))
        return [f"{model}: {text}" for text in texts]

    exp = Experiment(ROWS, store=tmp_path / "c.db").vary(model=["a", "b"]).step("answer", many, inputs={"texts": "text"})
    results = exp.run()
    assert sorted(sizes) == [1, 1, 2, 2, 2, 2] and results.computed == {"answer": 10}
    assert results.df["answer"].tolist() == [f"{m}: {row['text']}" for row in ROWS for m in "ab"]


def test_the_plan_tells_money_and_time_and_a_budget_ends_the_run(tmp_path):
    dear, cheap, unknown = Model("dear", Price(10, 100)), Model("cheap", Price(1, 1)), Model("unknown")

    @op(version="1")
    def ask(model, text):
        return Out(text, tokens_in=1000, tokens_out=100)

    def exp(*models):
        return Experiment(ROWS, store=tmp_path / "c.db").vary(model=list(models)).step("answer", ask).trials(4)

    assert exp(dear).plan().cost_usd == (None, None), "before the first call nobody knows"
    pilot = exp(dear).pilot(2)
    assert pilot.plan().cost_usd == pytest.approx((12 * 0.02, 12 * 0.02))
    assert exp(dear, cheap).plan().cost_usd.high == pytest.approx(12 * 0.02 + 20 * 0.0011)
    assert exp(unknown).plan().unpriced == ["unknown"]
    with pytest.raises(UserError, match="no price is known of unknown"):
        exp(unknown).run(budget_usd=1)
    results = pilot.run(budget_usd=0.1)
    assert 0.06 <= results.spent_usd <= 0.1 and results.left["answer"] == 12 - results.computed["answer"] > 0
    assert pilot.run().computed["answer"] == results.left["answer"]


def test_a_run_without_time_computes_nothing_and_says_what_is_left(exp):
    results = exp.run(budget_minutes=0)
    assert results.computed == {"answer": 0, "right": 0, "length": 0} and results.left["answer"] == 30
    assert results.df["status"].eq("missing").all()


def test_one_input_uses_the_same_cells(exp):
    exp.run()
    assert exp.one("r3", model=B).df["answer"].tolist() == exp.run().df.xs(("r3", "b"))["answer"].tolist()
    assert CALLS["answer"] == 30
    with pytest.raises(UserError, match="no row 'r9'"):
        exp.one("r9")


def test_calls_to_be_made_can_be_written_out(exp, tmp_path):
    lines = exp.plan().to_jsonl(tmp_path / "todo.jsonl").read_text().splitlines()
    assert len(lines) == 30 and json.loads(lines[0])["arguments"] == {"model": "a", "text": "text 0"}


def test_a_new_kind_of_key_finds_the_old_cells(exp, tmp_path, monkeypatch):
    exp.run()
    exp.store.close()

    def second(step, arguments):
        first = grids._first_keys(step, arguments)
        return lambda given: first(given)[::-1]

    monkeypatch.setattr(grids, "KEYS", [grids._first_keys, second])
    assert made(tmp_path).run().computed == {"answer": 0, "right": 0, "length": 0}
    assert made(tmp_path).trials(3).run().computed["answer"] == 15


def test_tables_and_files_are_data(tmp_path):
    pd.DataFrame(ROWS).to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    for data in (pd.DataFrame(ROWS), tmp_path / "rows.csv", str(tmp_path / "rows.jsonl")):
        Experiment(data, store=tmp_path / "c.db").step("answer", op(upper, sampled=False)).run()
    assert CALLS["upper"] == 5


def upper(text):
    CALLS["upper"] += 1
    return text.upper()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda e: e.step("other", lambda txt: txt), "no column 'txt' for argument 'txt'; did you mean 'text'"),
        (lambda e: e.step("other", upper, inputs={"txt": "text"}), "takes no argument 'txt'"),
        (lambda e: e.vary(text=[1]), "is the name of a column"),
        (lambda e: e.vary(model="a"), "needs a list of values"),
        (lambda e: e.vary(model=[A, Model("a")]), "two values are shown as 'a'"),
        (lambda e: e.trials(0), "0 trials"),
        (lambda e: e.step("no name", upper), "is no name for a step"),
        (lambda e: e.vary(client=[object()]).step("ask", lambda client: 1).plan(), "has nothing by which to tell it"),
        (lambda e: Experiment([*ROWS, {"id": "r1", "text": "x"}], store=e.store), "'r1' stands there twice"),
        (lambda e: Experiment([], store=e.store), "has no rows"),
        (lambda e: Experiment("rows.txt", store=e.store), "a file of kind '.txt'"),
        (lambda e: e.run(on_error="ignore"), "on_error"),
    ],
)
def test_bad_input_is_told_with_a_way_out(exp, wrong, says):
    with pytest.raises(UserError, match=says):
        wrong(exp)


def test_a_file_that_is_no_store_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("these are my notes, and no database " * 100)
    with pytest.raises(UserError, match="is not a store of cells"):
        CellStore(tmp_path / "notes.txt")


SCRIPT = """
    import sys, time
    from pathlib import Path
    from pp_assets.experiment import Experiment, op
    folder = Path(sys.argv[1])

    @op(version="1")
    def ask(model, text):
        with (folder / "calls").open("a") as calls:
            calls.write(f"{model} {text}\\n")
        time.sleep(0.01)
        return f"{model} {text}"

    def size(answer):
        return len(answer)

    rows = [{"id": i, "text": f"text {i}"} for i in range(40)]
    exp = Experiment(rows, store=folder / "cells.db").vary(model=["a", "b"]).step("answer", ask).score(size).trials(2)
    results = exp.run(workers=4)
    print(results.df["size"].sum(), results.df["status"].eq("done").all())
"""


def start(folder: Path) -> "subprocess.Popen[str]":
    script = folder / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    root = Path(__file__).resolve().parents[2]
    return subprocess.Popen([sys.executable, script, folder], env=os.environ | {"PYTHONPATH": str(root)}, stdout=subprocess.PIPE, text=True)


def test_a_run_that_was_killed_goes_on_with_what_was_not_done(tmp_path):
    calls = tmp_path / "calls"
    first = start(tmp_path)
    while not calls.exists() or len(calls.read_text().splitlines()) < 50:
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    made = len(calls.read_text().splitlines())
    assert 50 <= made < 160
    second = start(tmp_path)
    said = second.communicate(timeout=60)[0]
    assert said.split()[1] == "True"
    # At most what the workers had in hand, or had given and was not yet written, is asked again.
    assert 160 <= len(calls.read_text().splitlines()) <= 160 + 2 * 4


def test_two_processes_share_the_work(tmp_path):
    both = [start(tmp_path), start(tmp_path)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert said[0] == said[1] and said[0].split()[1] == "True"
    assert len((tmp_path / "calls").read_text().splitlines()) == 160

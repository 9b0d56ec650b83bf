"""Steps, scorers and models that a server of the tests is allowed to call. Calls are counted in the file that CALLS names."""

import os
import time
from collections import Counter
from pathlib import Path

from pp_assets.experiment import Out, Price, Refused, op
from pp_resources.errors import UserError


class Counts(Counter):
    identity = "counter"


SEEN = Counts()
SECRET = "not a function"


def note(word):
    with Path(os.environ["CALLS"]).open("a") as calls:
        calls.write(f"{word}\n")


class Model:
    """Answers differently each time."""

    price = Price(1.0, 10.0)

    def __init__(self, name):
        self.name, self.identity = name, f"test model {name}"


MODELS = [Model(name) for name in "abc"]


def answer(model, text):
    note("answer")
    SEEN[model.name, text] += 1
    return Out(f"{text} by {model.name}, answer {SEEN[model.name, text]}", tokens_in=100, tokens_out=10)


def right(answer, wanted):
    note("right")
    return answer == wanted


def length(answer):
    note("length")
    return len(answer)


@op(sampled=False)
def kind(value):
    return f"{type(value).__name__} {value!r}"


@op(retries=1)
def say(style, text, temperature):
    note("say")
    if text == "text 1" and style == "plain":
        raise ConnectionError("no answer")
    if text == "text 2":
        raise Refused("I would rather not")
    return {"said": f"{text} {style}", "share": temperature / 2, "count": 1, "sure": True, "none": None, "list": [1.0, "1", 1]}


@op(batch=("texts", 2), sampled=False)
def many(model, texts):
    note(f"many {len(texts)}")
    return [f"{model}: {text}" for text in texts]


@op(sampled=False)
def slowly(text):
    note("slowly")
    time.sleep(0.1)
    return text.upper()


@op(sampled=False)
def use(function, text):
    return function(text)


def shout(text):
    return text + "!"


def complain(text):
    raise UserError(f"has no column {text!r}", where="table", how="give one")


def end(text, end):
    return text + end[0] * end[1]


@op(sampled=False)
def hang(text):
    time.sleep(3 if text == "text 0" else 0)
    return text

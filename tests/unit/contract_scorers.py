"""Scorers that contracts of the tests name."""


def long(response_text, input_text, kwargs):
    return {"score": float(len(response_text) >= kwargs["at_least"]), "explanation": "by length"}


def four(response_text, input_text, input_args, kwargs):
    return 0.25


def wrong(response_text, input_text, kwargs):
    return 7


def fails(response_text, input_text, kwargs):
    raise ValueError("oh")

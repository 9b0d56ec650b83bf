"""Arguments on their way to a server: what arrives is what was sent, or nothing is sent; and nothing that is sent can do harm."""

import enum
import math
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pp_assets.experiment.values import encode
from pp_assets.experiment.wire import pack, unpack
from pp_resources.errors import UserError

HASHED = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(), st.dates())
OTHERS = st.one_of(
    st.just(math.nan),
    st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=-3))])),
    st.text("abc/", min_size=1).map(Path),
    st.frozensets(HASHED),
    st.sets(HASHED),
    st.lists(st.integers(-9, 9)).map(lambda v: np.array(v, dtype=np.int8)),
    st.floats(width=32, allow_nan=False).map(np.float32),
)
VALUES = st.recursive(
    HASHED | OTHERS, lambda v: st.lists(v) | st.lists(v).map(tuple) | st.dictionaries(st.text(), v) | st.dictionaries(HASHED, v)
)


def nobody(tag, words):
    raise ValueError(f"no {tag}")


def sent(value):
    return unpack(orjson.loads(orjson.dumps(pack(value, "here"))), nobody)


def kinds(value):
    if isinstance(value, dict):
        return type(value), [(kinds(k), kinds(v)) for k, v in value.items()]
    return (type(value), [kinds(v) for v in value]) if isinstance(value, list | tuple) else type(value)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALUES)
def test_what_arrives_has_the_same_key_and_the_same_types(value):
    arrived = sent(value)
    assert encode(arrived) == encode(value) and kinds(arrived) == kinds(value)


class Colour(enum.StrEnum):
    RED = "red"


@dataclass
class Settings:
    size: int = 1


@pytest.mark.parametrize(
    "value",
    [
        Colour.RED,
        Settings(),
        OrderedDict(a=1),
        pd.Timestamp("2026-01-02"),
        datetime(2026, 1, 2, tzinfo=ZoneInfo("Europe/Berlin")),
        np.array([object()]),
        np.array(["text"]),
        np.datetime64("2026-01-02"),
        [1, {"a": (object(),)}],
        lambda text: text,
        partial(len, "text"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_arrive_as_something_else_is_not_sent(value):
    with pytest.raises(UserError, match="here: "):
        pack(value, "here")


JSON = st.recursive(st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=5), lambda v: st.lists(v, max_size=3), max_leaves=5)
TAGS = ["int", "float", "bytes", "tuple", "set", "frozenset", "object", "datetime", "date", "path", "array", "number", "model", "code", "x"]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(TAGS), JSON | st.lists(JSON | st.sampled_from(["|O", "<i4", "V8", "(2,2)i4"]), min_size=3, max_size=3))
def test_what_nobody_packs_is_refused_or_plain(tag, inner):
    try:
        found = unpack({"$": tag, "is": inner}, nobody)
    except ValueError:
        return
    assert type(found) in (int, float, bytes, tuple, set, frozenset, dict, datetime, date, type(Path()), np.ndarray) or isinstance(
        found, np.number
    )

"""What changes the fingerprint of a step, and what does not; and the bytes of values."""

import doctest
import gc
import importlib
import inspect
import math
import re
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from pp_assets.experiment import experiment, op
from pp_assets.experiment.fingerprint import fingerprint
from pp_assets.experiment.values import NotData, as_json, digest, encode
from pp_resources.errors import UserError
from pp_resources.fingerprint import parse

STEP = """
    import re
    import numpy as np
    from helping import clean

    PROMPT = "Answer in one word."
    PATTERN = re.compile("a+")

    def step(text, k=3):
        return prepare(text) + PROMPT, PATTERN.sub("", text), np.mean([k])

    def prepare(text):
        return clean(text).strip()

    class Model:
        size = 3

        def __call__(self, text):
            return clean(text) * self.size
"""
HELPING = """
    def clean(text):
        return deeper(text)

    def deeper(text):
        return text.lower()
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Loads the two modules with some text exchanged."""
    monkeypatch.syspath_prepend(tmp_path)
    # Compiled files are told apart by their second and their size, which an edit here need not change.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def loaded(**edits):
        for name, text in (("helping", HELPING), ("stepping", STEP)):
            for old, new in edits.items():
                text = text.replace(*new) if old.startswith(name) else text
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        __import__("linecache").clearcache()
        return importlib.import_module("stepping")

    yield loaded
    for name in ("helping", "stepping"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("where", "old", "new", "word"),
    [
        ("stepping", "strip()", "rstrip()", "stepping.prepare"),
        ("stepping", "one word", "two words", "stepping.PROMPT"),
        ("stepping", '"a+"', '"b+"', "stepping.PATTERN"),
        ("stepping", "k=3", "k=4", "stepping.step"),
        ("helping", "lower()", "upper()", "helping.deeper"),
    ],
)
def test_an_edit_anywhere_below_changes_it_and_is_named(load, where, old, new, word):
    before = fingerprint(load().step)
    after = fingerprint(load(**{where: (old, new)}).step)
    assert after.digest != before.digest
    assert any(word in change for change in after.changed(before.parts)), after.changed(before.parts)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return prepare(text)", "# a comment\n        return prepare(text)"),
        ("def prepare(text):\n", 'def prepare(text):\n        """Says what it does."""\n'),
        ("    def prepare", "\n\n    def prepare"),
        ("        size = 3\n", "        size = 3\n        unused = None\n"),
    ],
)
def test_comments_docstrings_and_moved_lines_change_nothing(load, old, new):
    assert fingerprint(load(stepping=(old, new)).step).digest == fingerprint(load().step).digest


def test_docstrings_count_where_they_are_prompts(load):
    documented = ("def prepare(text):\n", 'def prepare(text):\n        """Says what it does."""\n')
    plain, said = (fingerprint(load(**edit).step, docstrings=True).digest for edit in ({}, {"stepping": documented}))
    assert plain != said


def test_callable_objects_closures_and_lambdas_are_told_apart(load):
    before = fingerprint(load().Model()).digest
    assert fingerprint(load(stepping=("size = 3", "size = 4")).Model()).digest != before

    def made(suffix):
        return lambda text: text + suffix

    assert fingerprint(made("a")).digest != fingerprint(made("b")).digest == fingerprint(made("b")).digest


def test_libraries_count_by_their_version(load):
    parts = fingerprint(load().step).parts
    assert parts["version of numpy"] == np.__version__
    assert not any(name.startswith("numpy.") for name in parts)


def test_code_without_source_is_known_by_its_bytecode():
    space: dict = {}
    exec("def f(x):\n    return x + 1\ndef g(x):\n    return x + 2", space)
    assert fingerprint(space["f"]).digest != fingerprint(space["g"]).digest


def test_what_cannot_be_told_apart_is_refused_unless_it_is_pinned():
    with Path(__file__).open() as handle:

        def reads(text):
            return handle.read() + text

        with pytest.raises(UserError, match=r"uses handle of .*reads, a TextIOWrapper"):
            fingerprint(reads)
        assert op(reads, version="1").fingerprint().digest != op(reads, version="2").fingerprint().digest


def test_watched_files_count(tmp_path):
    file = tmp_path / "prompt.txt"
    file.write_text("one")
    step = op(len, version="1", watch=[str(file)])
    before = step.fingerprint().digest
    file.write_text("two")
    assert step.fingerprint().digest != before
    with pytest.raises(UserError, match="is not there"):
        op(len, version="1", watch=["nowhere.txt"]).fingerprint()


VALUES = [0, 0.0, False, "", "0", None, [], [None], [math.nan], [math.inf], {}, {"a": 1}, {"a": 1.0}, {"a": None}, {"$": "int", "is": "1"}]
VALUES += [{"a": 1, "b": 2}, {"b": 2, "a": 1}, b"", b"0", 2**70, -(2**70), Path("a"), "a", date(2026, 1, 2), "2026-01-02", {1, 2}, [1, 2]]
VALUES += [np.array([1, 2]), np.array([1.0, 2.0]), {1: "a"}, {"1": "a"}, "é", "e\u0301"]


def test_different_values_have_different_bytes_and_equal_ones_the_same():
    assert len({encode(value) for value in VALUES}) == len(VALUES)
    assert encode(np.float64(0.5)) == encode(0.5) and encode((1, 2)) == encode([1, 2]) and encode(np.int32(3)) == encode(3)
    assert encode({3, 1, 2}) == encode({2, 3, 1})
    assert len(digest("x" * 10_000)) == 16
    with pytest.raises(NotData):
        encode(object())


def test_only_json_is_kept():
    assert as_json({"a": (np.float32(0.5), np.array([1, 2]))}) == {"a": [0.5, [1, 2]]}
    for wrong in (math.nan, {1: 2}, object(), re.compile("a")):
        with pytest.raises(NotData):
            as_json(wrong)


def test_the_documented_example_runs():
    assert doctest.testmod(experiment).attempted > 5 and not doctest.testmod(experiment).failed


class Garbage:
    """Runs a little code when it is collected, which lets other threads in."""

    def __init__(self):
        self.me = self

    def __del__(self):
        sum(range(100))


def test_threads_may_parse_at_once():
    source, interval, threshold = inspect.getsource(experiment), sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(5)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert len(set(pool.map(lambda _: (Garbage(), len(parse(source).body))[1], range(40)))) == 1
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*threshold)

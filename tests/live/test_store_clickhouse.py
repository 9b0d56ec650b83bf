"""The same questions on SQLite, PostgreSQL and ClickHouse (the engine embedded, one owner process) have the same answers."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_rows import AT, inference
from test_store_postgres import server  # noqa: F401  (a fixture)

from pp_resources.errors import UserError
from pp_resources.settings import PROJECT_ROOT
from pp_resources.store.analytics import QUESTIONS, ask
from pp_resources.store.buckets import DAY
from pp_resources.store.engine import address
from pp_resources.store.ids import MICRO
from pp_resources.store.opened import Store
from pp_resources.store.retention import erase
from pp_resources.store.rows import Feedback

pytest.importorskip("clickhouse_connect")
pytest.importorskip("chdb")
pytestmark = pytest.mark.live


def rows() -> list:
    """Four days of inferences with everything that is null sometimes, and feedback with corrections."""
    chance = random.Random(5)
    made = []
    for n in range(400):
        more = {"cost": None} if n % 100 < 25 else {"cost": n / 1000}
        more |= {"error": "late"} if n % 17 == 0 else {"confidence": chance.random()}
        more |= {"subject": f"s{n % 9}", "shadow": n % 11 == 0, "input": f"text {n % 150}", "latency_ms": n / 3 if n % 5 else None}
        made.append(inference(n, at=AT + n * 864 * MICRO, **more))
    said = [Feedback(kind="boolean", metric="right", inference=f"i{chance.randrange(420)}", value=chance.randrange(2)) for _ in range(500)]
    return [*made, *said, Feedback(kind="comment", inference="i1", comment="slow ☃ 'quoted'")]


def near(answer: list[dict]) -> list:
    return [{name: pytest.approx(value) if isinstance(value, float) else value for name, value in row.items()} for row in answer]


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = None if request.param == "sqlite" else request.getfixturevalue("server").database()
    made = Store(address(tmp_path, url))
    made.write_many(rows())
    yield made
    made.close()


def test_the_same_questions_have_the_same_answers(store: Store, tmp_path: Path) -> None:
    from pp_resources.store.clickhouse import ClickHouse

    house = ClickHouse(f"chdb://{tmp_path / 'house'}")
    assert house.load(store) == house.load(store) == {"inferences": 400, "feedback": 501}
    for question in QUESTIONS:
        mine = ask(store, question)
        assert len(mine) > 3 and mine == near(house.ask(question)), question
    second = "from pp_resources.store.clickhouse import ClickHouse; import sys; ClickHouse('chdb://' + sys.argv[1])"
    words = [sys.executable, "-c", second, str(tmp_path / "house")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT_ROOT), *sys.path])}
    refused = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False, env=environment)
    assert refused.returncode and "cannot be opened" in refused.stderr
    erase(store, "s1")
    house.load(store, since=AT // MICRO // DAY * DAY)
    assert all(ask(store, question) == near(house.ask(question)) for question in QUESTIONS)
    house.close()


def test_a_question_that_nobody_knows_is_named(store: Store) -> None:
    with pytest.raises(UserError, match="did you mean 'traffic_by_day'"):
        ask(store, "traffic_by_days")

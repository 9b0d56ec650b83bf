"""A search that is killed in the middle and run again makes the calls of one that was not, plus those in flight."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pp_assets.prompts.search.arena import BATCH
from pp_resources.settings import PROJECT_ROOT

pytestmark = pytest.mark.slow  # four processes, each of which imports everything

SEARCH = """
import json, sys, time
from pathlib import Path
from prompt_world import SPEC, Words, World, rows, worded
from pp_assets.prompts.candidate import Ground
from pp_assets.prompts.prompted import ChatTarget
from pp_assets.prompts.search.account import Account, Budget
from pp_assets.prompts.search.arena import Arena
from pp_assets.prompts.search.halving import Halving
from pp_assets.prompts.search.run import Held, find_prompt
from pp_assets.prompts.search.strategy import Rows
from pp_assets.prompts.search.tree import EventLog, Tree

class Slow(World):
    def _one(self, messages):
        time.sleep(0.002)
        return super()._one(messages)

place, every, tree = Path(sys.argv[1]), rows(300), Tree()
world = Slow(counter=place / "calls")
account = Account(Budget(400), place / "ledger.jsonl")
target, cells = ChatTarget(world), place / "cells.db"
with EventLog(place / "events.jsonl", tree.hear) as heard, Arena(SPEC, target, cells, account=account, on_event=heard) as ring:
    words = Words([f"gain{n}" for n in (5, -10, 0, 30, 10, -20, 15, 20)])
    found = find_prompt(
        ring, Ground(SPEC, every[:100]), Rows(every[:100], every[100:160]), Held(140, lambda: every[160:]), strategy=Halving(),
        proposers=[words], guards=lambda ground, one: [], seed=1, ledger=place / "test.jsonl",
    )
told = {"best": found.best.id, "spent": found.spent, "test": found.test_spent, "ruling": found.ruling.label, "tree": tree.plain}
(place / "told.json").write_text(json.dumps(told))
"""


def begun(place: Path) -> subprocess.Popen[bytes]:
    place.mkdir(exist_ok=True)
    path = f"{PROJECT_ROOT}:{PROJECT_ROOT / 'tests' / 'unit'}"
    return subprocess.Popen([sys.executable, "-c", SEARCH, str(place)], env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin"})


def calls(place: Path) -> int:
    file = place / "calls"
    return file.stat().st_size if file.exists() else 0


def first_event(place: Path) -> dict[str, Any]:
    return json.loads((place / "events.jsonl").read_text().splitlines()[0])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("whole")
    assert begun(place).wait(120) == 0
    return place


@pytest.mark.parametrize("share", [0.2, 0.55, 0.9], ids=["early", "later", "in the test"])
def test_a_killed_search_goes_on(whole: Path, tmp_path: Path, share: float) -> None:
    told = json.loads((whole / "told.json").read_text())
    assert calls(whole) == told["spent"]["calls"] + told["test"]["calls"] and told["ruling"] == "RELEASE"
    running = begun(tmp_path / "killed")
    until = time.monotonic() + 120
    while calls(tmp_path / "killed") < share * calls(whole) and time.monotonic() < until:
        assert running.poll() is None, "it has to be killed in the middle"
        time.sleep(0.001)
    running.send_signal(signal.SIGKILL)
    assert running.wait(30) == -signal.SIGKILL
    killed = calls(tmp_path / "killed")
    assert not first_event(tmp_path / "killed")["goes_on"]
    assert begun(tmp_path / "killed").wait(120) == 0
    assert first_event(tmp_path / "killed")["goes_on"]
    assert json.loads((tmp_path / "killed" / "told.json").read_text()) == told, "same decisions, same counts, same tree"
    assert 0 < killed < calls(whole) <= calls(tmp_path / "killed") <= calls(whole) + 2 * BATCH

"""Every test has its own home folder, no network and one thread; what it puts into the environment is gone after it."""

import gc
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import absl.logging
import pytest
from alembic.config import Config
from longest import LONGEST

# Its handler closes whatever stream it holds when logging is configured anew, unless that is the process's own: pytest's would be lost.
absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__
# Set before any library that reads it is imported. One thread: tests run beside each other, and sums come out the same.
os.environ |= {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "PP_THREADS": "1",
    "PP_DEVICE": "cpu",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
}
# In memory where there is room: databases of tests are synced thousands of times, a quarter of the suite's time on a disk.
if (_MEMORY := Path("/dev/shm")).is_dir() and shutil.disk_usage(_MEMORY).free > 4 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))
# COLUMNS: how wide a table is must not depend on who runs the tests.
_OURS = ("COLUMNS", "PP_HOME", "PP_TASKS", "PP_STATE", "PP_STORE_URL", "PP_MLFLOW_URI", "DAGSTER_HOME", "HF_HOME")
_OURS += ("PP_PROVIDER_URL", "PP_PROVIDER_MODEL", "PP_PROVIDER_KEY", "PP_PROVIDER_BUDGET", "PP_PROVIDER_BUDGET_USD", "PP_PROVIDERS")
_OURS += ("PP_PROVIDER_CASSETTE", "PP_PROVIDER_CASSETTE_MODE", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY", "VLLM_API_KEY")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take longest come first, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session", autouse=True)
def _migrations_read_once() -> None:
    """Each database of Dagster and MLflow, one a run, has all migration scripts read again: half of the time that it takes to make one."""
    from alembic.script import ScriptDirectory

    read, known = ScriptDirectory.from_config, dict[str | None, ScriptDirectory]()

    def from_config(config: Config) -> ScriptDirectory:
        place = config.get_main_option("script_location")
        if place not in known:
            known[place] = read(config)
        return known[place]

    ScriptDirectory.from_config = from_config


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For fixtures that live longer than a test: nothing of the user's installation is read or written."""
    with _restored():
        for name in _OURS:
            os.environ.pop(name, None)
        os.environ["PP_HOME"] = str(tmp_path_factory.mktemp("home"))
        os.environ["HF_HOME"] = str(tmp_path_factory.mktemp("hub"))
        yield


@pytest.fixture(scope="module", autouse=True)
def _own_environment(_own_state: None) -> Iterator[None]:
    """What the fixtures of a module put into the environment (an open Dagster instance does) ends with the module.

    What is there when it starts, over a million objects of libraries and of collected tests, is not looked through again by each full
    collection of garbage in it."""
    gc.collect()
    gc.freeze()
    with _restored():
        yield


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, _own_state: None) -> Iterator[None]:
    """A home folder of the test's own; environment and loggers as before when it ends."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with _restored(), warnings.catch_warnings():
        os.environ["PP_HOME"] = str(tmp_path / ".pp")
        yield
    for handler in [h for h in root.handlers if h not in handlers]:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


class _restored:
    """The environment as it was, whatever happens inside."""

    def __enter__(self) -> None:
        self.before = dict(os.environ)

    def __exit__(self, *_: object) -> None:
        for name in os.environ.keys() - self.before.keys():
            del os.environ[name]
        os.environ.update(self.before)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Sensor contexts of a test leave their instance when they are collected. That must happen while the test's own instance is open:
    in another order Dagster holds on to one that is gone, and every later run in this process fails."""
    if "place" in getattr(item, "fixturenames", ()):
        gc.collect()

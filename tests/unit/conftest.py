"""What tests of commands share: a small installation, and `pp` on it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Said, command_line
from small_task import write_task


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tasks folder that holds one small task, `alpha`. A module that needs more has a `home` of its own."""
    root = tmp_path_factory.mktemp("installation")
    write_task(root / "tasks", "alpha")
    return root


@pytest.fixture
def pp(home: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    return command_line(home, capfd)

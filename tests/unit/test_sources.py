"""What a stage depends on is read off the sources once, and again when they change."""

import json
import os
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

import pytest

from pp_resources import fingerprint
from pp_resources.fingerprint import Source, read_source
from pp_resources.settings import PROJECT_ROOT


def written(file: Path, text: str) -> Source:
    """What is read of a file that holds this, with one time for all of them."""
    file.write_text(text)
    os.utime(file, (1, 1))
    return read_source(file)


def kept(file: Path) -> Path:
    return Path(cache_from_source(str(file))).with_suffix(".source")


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process: nothing is known but what lies on the disk."""
    monkeypatch.setattr(fingerprint, "_source", fingerprint._source.__wrapped__)


def test_a_source_is_read_again_when_its_text_differs_and_not_its_time_or_size(tmp_path: Path, forgetful: None) -> None:
    file = tmp_path / "part.py"
    first = written(file, "import pp_a\n\n\ndef f():\n    from pp_b.c import d\n    return 1\n")
    assert first.imports == ("pp_a", "pp_b.c", "pp_b.c.d")
    second = written(file, "import pp_a\n\n\ndef f():\n    from pp_b.c import d\n    return 2\n")
    assert second.tree != first.tree and second.imports == first.imports
    assert written(file, 'import pp_a  # why\n\n\ndef f():\n    """What."""\n    from pp_b.c import d\n\n    return 2\n') == second


def test_a_source_that_is_known_is_not_parsed(tmp_path: Path, forgetful: None, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "part.py"
    first = written(file, "x = 1\n")
    monkeypatch.setattr(fingerprint, "parse", lambda _text: pytest.fail("parsed again"))
    assert read_source(file) == first


@pytest.mark.parametrize("left", ["", "{", "[]", '{"of": 1}', None])
def test_what_is_kept_is_not_trusted_when_it_is_broken_or_of_another_reader(
    tmp_path: Path, forgetful: None, left: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "part.py"
    first = written(file, "x = 1\n")
    if left is None:
        monkeypatch.setattr(fingerprint, "_method", lambda: b"another")
        left = json.dumps(json.loads(kept(file).read_text()) | {"tree": "old"})
    kept(file).write_text(left)
    assert read_source(file) == first


def test_a_folder_that_nobody_may_write_to_is_read_all_the_same(tmp_path: Path, forgetful: None) -> None:
    (tmp_path / "__pycache__").write_text("in the way")
    assert written(tmp_path / "part.py", "import pp_a\n").imports == ("pp_a",)


def test_rows_are_read_without_what_only_models_need() -> None:
    code = (
        "import sys; from pathlib import Path; import pyarrow as pa, pyarrow.parquet as pq, tempfile\n"
        "from pp_assets.task.examples import read_split\n"
        "names = ['item_id', 'input_text', 'output_json', 'source_id', 'group', 'meta', 'split']\n"
        "row = dict(zip(names, ['a', 'hi', '{}', None, '', '{}', 'train']))\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    pq.write_table(pa.Table.from_pylist([row, row | {'split': 'val'}]), Path(folder, 'clean.parquet'))\n"
        "    assert len(read_split(Path(folder), 'train')) == 1\n"
        "print(*sorted({'torch', 'datasets', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT_ROOT)
    assert done.stdout.strip() == ""

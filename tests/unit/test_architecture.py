"""The import rules of the house, read from the source."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from longest import LONGEST

from pp_resources.settings import PROJECT_ROOT

ORDER = ["pp_resources", "pp_assets", "pp_sensors", "pp_gateway"]
MAY_IMPORT_DAGSTER = {
    "pp_assets/build.py",
    "pp_assets/partitions.py",
    "pp_assets/conditions.py",
    "pp_assets/checks.py",
    "pp_assets/jobs.py",
    "pp_assets/definitions.py",
    "pp_assets/metadata.py",
    "pp_assets/execute.py",
    "pp_assets/workflows/graph.py",  # the steps of a file become the ops of a job: a graph that no module can declare
    "pp_resources/dagster_resources.py",
    "pp_resources/instance.py",
}
HEAVY = {"torch", "transformers", "peft", "mlflow", "sklearn", "umap", "hdbscan", "numba", "matplotlib", "datasets", "optuna"}
HEAVY |= {"fairlearn", "sacrebleu", "rouge_score"}


@cache
def sources() -> list[Path]:
    return sorted(file for package in ORDER for file in (PROJECT_ROOT / package).rglob("*.py"))


def name_of(file: Path) -> str:
    return file.relative_to(PROJECT_ROOT).as_posix()


@cache
def imports(file: Path) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """Every import of a file, at the top or inside functions."""
    return tuple(node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Import | ast.ImportFrom))


@cache
def roots(file: Path) -> frozenset[str]:
    """The top-level packages that a file imports."""
    found: set[str] = set()
    for node in imports(file):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif node.module:
            assert not node.level, f"{file}: relative import"
            found.add(node.module)
    return frozenset(name.partition(".")[0] for name in found)


@pytest.mark.parametrize("file", sources(), ids=name_of)
def test_dependencies_point_one_way(file: Path) -> None:
    place = ORDER.index(file.relative_to(PROJECT_ROOT).parts[0])
    upward = roots(file) & set(ORDER[place + 1 :])
    if name_of(file) == "pp_assets/build.py":
        upward -= {"pp_sensors"}  # the assembly is where the parts meet
    assert not upward, f"{name_of(file)} imports {sorted(upward)}"


def test_nothing_needs_what_is_not_installed_with_it() -> None:
    assert [name_of(file) for file in sources() if roots(file) & {"examples", "bench", "tests", "langgraph"}] == []


def test_only_wiring_imports_dagster() -> None:
    wrong = [
        name_of(file)
        for file in sources()
        if roots(file) & {"dagster"}
        and name_of(file) not in MAY_IMPORT_DAGSTER
        and file.name != "assets.py"
        and not name_of(file).startswith("pp_sensors/")
    ]
    assert not wrong


def test_only_the_tracker_imports_mlflow() -> None:
    assert [name_of(f) for f in sources() if "mlflow" in roots(f)] == ["pp_resources/tracking.py"]


def test_modules_that_define_dagster_things_have_real_annotations() -> None:
    wrong = [name_of(f) for f in sources() if "dagster" in roots(f) and "__future__" in roots(f)]
    assert not wrong, "Dagster cannot resolve config types in modules with postponed annotations"


def test_nothing_unpickles_and_no_model_brings_code() -> None:
    for file in sources():
        text = file.read_text("utf-8")
        assert not roots(file) & {"pickle", "joblib", "dill", "cloudpickle"}, name_of(file)
        assert "trust_remote_code=True" not in text and "allow_pickle=True" not in text, name_of(file)


def test_loading_the_definitions_imports_nothing_heavy() -> None:
    code = "import sys, pp_assets.definitions; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT_ROOT)
    assert not set(done.stdout.split()) & HEAVY


def test_names_are_imported_from_the_module_that_defines_them() -> None:
    """What a result depends on is read from imports; a name taken from a package's front would hide the module behind it."""
    for file in sources():
        if file.name == "__init__.py" or not name_of(file).startswith(("pp_assets/", "pp_resources/")):
            continue
        for node in imports(file):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pp_"):
                folder = PROJECT_ROOT.joinpath(*node.module.split("."))
                inside = {part.stem for part in folder.iterdir()} if folder.is_dir() else {alias.name for alias in node.names}
                hidden = sorted({alias.name for alias in node.names} - inside)
                assert not hidden, f"{name_of(file)} imports {hidden} from the package {node.module}"


def test_the_files_of_tests_that_are_started_first_are_there() -> None:
    there = {file.name for file in (PROJECT_ROOT / "tests").rglob("test_*.py")}
    assert not set(LONGEST) - there

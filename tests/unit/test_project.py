"""What the project promises about itself: pinned dependencies under permissive licences, targets that exist, one list of versions."""

import re
import subprocess
import sys
import tomllib
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from test_architecture import roots, sources

from bench import licences
from pp_resources.settings import PROJECT_ROOT

PROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LINES = [line for line in (PROJECT_ROOT / ".ci" / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
PINS = dict(line.split("==") for line in LINES)
NAMES = {  # modules whose distribution is called otherwise
    "yaml": "pyyaml",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "jinja2": "jinja2",
    "prometheus_client": "prometheus-client",
    "huggingface_hub": "huggingface-hub",
    "rouge_score": "rouge-score",
    "clickhouse_connect": "clickhouse-connect",
}


@pytest.mark.parametrize("text", [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)])
def test_each_direct_dependency_is_pinned_as_in_the_constraints(text: str) -> None:
    need = Requirement(text)
    assert re.fullmatch(r"==[0-9][^,*+]*", str(need.specifier)), f"{text} is not pinned to one version"
    assert PINS[canonicalize_name(need.name)] == str(need.specifier).removeprefix("==")


def test_the_constraints_are_names_with_versions_and_nothing_else() -> None:
    wrong = [line for line in LINES if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.!]*", line)]
    assert not wrong, "no addresses, no local paths, no local suffixes: a new machine must find the same"
    assert sorted(PINS) == [line.partition("==")[0] for line in LINES]


def test_the_constraints_cover_everything_that_the_project_reaches() -> None:
    reached = {name for name in licences.closure(licences.declared(["dev", "examples"])) if not name.startswith(licences.VENDOR)}
    # triton comes with the CUDA build of torch, which pins it.
    assert not reached - PINS.keys() - {"triton"}, "run 'make constraints'"


def test_what_the_code_imports_is_a_direct_dependency() -> None:
    optional = [line for extra in ("postgres", "clickhouse") for line in EXTRAS[extra]]
    declared = {canonicalize_name(Requirement(line).name) for line in [*PROJECT["dependencies"], *optional]}
    for file in sources():
        outside = {root for root in roots(file) if root not in sys.stdlib_module_names and not root.startswith("pp_")}
        missing = {root for root in outside if NAMES.get(root, root) not in declared}
        assert not missing, f"{file} imports {missing}, which pyproject.toml does not name"


def test_every_distribution_of_the_runtime_has_a_permissive_licence() -> None:
    found = licences.report(["examples"])
    assert len(found) > 100
    assert [f"{one.name}: {one.problem}" for one in found if one.problem] == []
    assert not set(licences.EXCEPTIONS) - {one.name for one in found}, "an exception that nothing needs"


@pytest.mark.parametrize(
    ("licence", "wrong_part"),
    [
        ("MIT", None),
        ("MPL-2.0 AND MIT", "MPL-2.0"),
        ("GPL-3.0-only OR BSD-3-Clause", None),
        ("GNU Lesser General Public License v3 (LGPLv3)", "GNU Lesser General Public License v3 (LGPLv3)"),
        ("Apache-2.0 WITH LLVM-exception", None),
        ("Apache 2.0, not for commercial use", "Apache 2.0, not for commercial use"),
        ("Permitted", "Permitted"),
    ],
)
def test_a_licence_is_judged_by_each_of_its_parts(licence: str, wrong_part: str | None) -> None:
    wanted = f"{wrong_part!r} is not in the list of permissive licences" if wrong_part else ""
    assert licences.judge("some-package", licence) == wanted


def test_a_distribution_that_states_no_licence_is_found() -> None:
    assert licences.judge("some-package", "") == "states no licence"
    assert licences.judge("huey", "") == "", "looked at by a person"


def test_the_licence_is_read_from_expression_then_classifiers_then_field() -> None:
    class Installed:
        def __init__(self, *fields: tuple[str, str]) -> None:
            self.metadata = Message()
            for name, value in fields:
                self.metadata[name] = value

    field, classifier = ("License", "\nMIT\nlong text"), ("Classifier", "License :: OSI Approved :: BSD License")
    assert licences.licence_of(Installed(("License-Expression", "ISC"), field, classifier)) == "ISC"  # type: ignore[arg-type]
    assert licences.licence_of(Installed(field, classifier, ("Classifier", "License :: OSI Approved"))) == "BSD License"  # type: ignore[arg-type]
    assert licences.licence_of(Installed(field)) == "MIT"  # type: ignore[arg-type]
    assert licences.licence_of(Installed()) == ""  # type: ignore[arg-type]


def test_make_lists_its_targets_and_the_check_of_a_clean_machine_is_make_test() -> None:
    listed = subprocess.run(["make", "--no-print-directory"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^  make (\S+)", listed, re.MULTILINE)
    assert {"install", "demo", "test", "test-all", "ui", "lint", "base", "install-bench", "clean", "help"} <= set(targets)
    run = PROJECT_ROOT / ".ci" / "run"
    assert run.stat().st_mode & 0o111 and "make test" in run.read_text()
    assert "set -euo pipefail" in run.read_text()


def test_a_machine_without_python_3_11_is_told_so(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).write_bytes((PROJECT_ROOT / name).read_bytes())
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "constraints.txt").touch()
    done = subprocess.run(["make", "install", "PYTHON=python3.11-not-here"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "python3.11-not-here not found; install Python 3.11 or give PYTHON=path" in done.stderr


def test_cleaning_keeps_results_unless_somebody_says_yes(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_bytes((PROJECT_ROOT / "Makefile").read_bytes())
    for answer, kept in (("", True), ("no\n", True), ("yes\n", False)):
        (tmp_path / "state").mkdir(exist_ok=True)
        environment = {"PP_HOME": "state", "PATH": "/usr/bin:/bin"}
        subprocess.run(["make", "clean"], cwd=tmp_path, input=answer, text=True, check=True, env=environment)
        assert (tmp_path / "state").exists() is kept

"""What the READMEs name exists: commands, options, make targets, paths, assets, sensors, variants, variables.

Their counts are those of the data.
"""

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pp_resources.settings import PROJECT_ROOT

TOP = PROJECT_ROOT / "README.md"
TASKS = ["support-triage", "expense-notes"]
CHAT = PROJECT_ROOT / "examples" / "support_chat" / "README.md"
READMES = [TOP, CHAT, *(PROJECT_ROOT / "tasks" / task / "README.md" for task in TASKS)]
# Only these first parts are paths of the repository; `adapter/` or `eval_report.md` are files of a package.
ROOMS = r"(?:pp_assets|pp_resources|pp_sensors|pp_gateway|examples|tasks|tests|bench|\.ci)"


def without_comment(line: str) -> str:
    return re.split(r"(?:^|\s)#", line, maxsplit=1)[0].rstrip()


def fenced(text: str, kind: str) -> str:
    return "\n".join(blocks(text, kind))


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    """Inline code outside of fenced blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def commands(program: str) -> list[list[str]]:
    """Every call of `program` in any README, as words, without variables before it, redirections and comments."""
    found = set()
    for readme in READMES:
        text = readme.read_text("utf-8")
        for line in [*fenced(text, "sh").splitlines(), *spans(text)]:
            # The word alone, as in "the `pp` command", calls nothing.
            call = re.match(rf"(?:[A-Z_]+=\S+ )*{program} (.+)", without_comment(line).partition(" <")[0])
            if call:
                found.add(tuple(shlex.split(call.group(1))))
    return sorted(map(list, found))


def rows(text: str, heading: str) -> list[list[str]]:
    """Cells of the Markdown table whose first heading is `heading`."""
    table = re.search(rf"^\| {heading} \|.*\n\| ---.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table, f"no table {heading!r}"
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.group(1).splitlines()]


def first_column(heading: str) -> list[str]:
    return [row[0].strip("` ") for row in rows(TOP.read_text("utf-8"), heading)]


@cache
def pp() -> Any:
    """The command line as a click command."""
    import typer

    from pp_gateway.cli.app import app

    return typer.main.get_command(app)


def leaves(command: Any, path: str = "pp") -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, f"{path} {name}")


def options(command: Any) -> set[str]:
    return {"--help"}.union(*(param.opts + param.secondary_opts for param in command.params))


def check_call(words: list[str]) -> None:
    command, left = pp(), list(words)
    while hasattr(command, "commands") and left and not left[0].startswith("-"):
        assert left[0] in command.commands, f"pp {' '.join(words)}: there are {sorted(command.commands)}"
        command = command.commands[left.pop(0)]
    used = {word.partition("=")[0] for word in left if word.startswith("-")}
    assert used <= options(command), f"pp {' '.join(words)}: {sorted(used - options(command))}"


@pytest.mark.parametrize("words", commands("pp"), ids=" ".join)
def test_every_pp_command_exists_with_its_options(words: list[str]) -> None:
    check_call(words)


@pytest.mark.parametrize(("path", "command"), leaves(pp()), ids=lambda part: part if isinstance(part, str) else "")
def test_the_help_of_every_command_has_an_example_that_exists(path: str, command: Any) -> None:
    told = re.findall(r"^\s*(?:Example: |.+ \| )?(pp .+)$", command.help or "", re.MULTILINE)
    assert any(f"{one} ".startswith(f"{path} ") for one in told) and re.search(r"^Examples?:", command.help, re.MULTILINE)
    for one in told:
        check_call(shlex.split(one.partition(" | ")[0])[1:])


@pytest.mark.parametrize("words", commands("python -m examples.support_chat"), ids=" ".join)
def test_every_call_of_the_support_chat_has_options_that_exist(words: list[str]) -> None:
    from examples.support_chat.__main__ import parser

    assert parser().parse_args(words)


def test_every_command_prints_json_on_demand() -> None:
    assert [path for path, command in leaves(pp()) if "--json" not in options(command)] == []


def test_every_make_target_exists() -> None:
    there = set(re.findall(r"^([a-z][a-z-]*):", (PROJECT_ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {words[0] for words in commands("make")}
    assert {"demo", "test", "ui", "help"} <= named <= there


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.relative_to(PROJECT_ROOT).as_posix())
def test_every_path_exists(readme: Path) -> None:
    text = readme.read_text("utf-8")
    told = [*spans(text), *map(without_comment, fenced(text, "sh").splitlines())]
    named = {path for code in told for path in re.findall(rf"(?<![\w/.-]){ROOMS}/[\w./-]*", code)}
    named |= {name for name in spans(text) if re.fullmatch(r"Makefile|LICENSE|(?:dagster|workspace)\.yaml|pyproject\.toml", name)}
    missing = sorted(name for name in named if not (PROJECT_ROOT / name).exists())
    missing += [link for link in re.findall(r"\]\(([^)#:]+)\)", text) if not (readme.parent / link).exists()]
    assert not missing


def test_the_picture_and_the_table_show_the_assets_as_they_are_defined() -> None:
    from pp_assets.definitions import defs

    graph = defs.resolve_asset_graph()
    names = {key.to_user_string() for key in graph.get_all_asset_keys()}
    edges = {(up.to_user_string(), key.to_user_string()) for key in graph.get_all_asset_keys() for up in graph.get(key).parent_keys}
    picture = fenced(TOP.read_text("utf-8"), "mermaid")
    assert set(re.findall(r"(\w+) --> (\w+)", picture)) == edges
    assert sorted(first_column("asset")) == sorted(names)
    frames = dict(re.findall(r"subgraph \w+\[\"(.*?)\"\]\n(.*?)\n  end", picture, re.DOTALL))
    shapes = {"one partition per task": "DynamicPartitionsDefinition", "one partition per task × variant": "MultiPartitionsDefinition"}
    for frame, shape in shapes.items():
        drawn = {node for node in re.findall(r"\w+", frames[frame]) if node in names}
        assert drawn == {k.to_user_string() for k in graph.get_all_asset_keys() if type(graph.get(k).partitions_def).__name__ == shape}


def test_the_checks_are_those_of_the_assets() -> None:
    from pp_assets.definitions import defs

    graph = defs.resolve_asset_graph()
    sentence = re.search(r"Checks are on the assets: (.*?)\. ", TOP.read_text("utf-8"), re.DOTALL)
    assert sentence and {key.name for key in graph.asset_check_keys} == set(re.findall(r"`(\w+)`", sentence.group(1)))


def test_what_starts_by_itself_is_told_in_full() -> None:
    from pp_assets.definitions import defs

    assert sorted(first_column("name")) == sorted(part.name for part in [*(defs.sensors or []), *(defs.schedules or [])])


def test_the_variants_are_the_recipes() -> None:
    from pp_assets.training.recipes import RECIPES

    told = {row[0].strip("`"): row[1] for row in rows(TOP.read_text("utf-8"), "variant")}
    assert told == {name: recipe.family for name, recipe in RECIPES.items()}


def test_the_variables_are_those_that_the_code_reads() -> None:
    sources = [file for room in ("pp_assets", "pp_resources", "pp_sensors", "pp_gateway") for file in (PROJECT_ROOT / room).rglob("*.py")]
    read = {name for file in sources for name in re.findall(r"\bPP_[A-Z]+(?:_[A-Z]+)*\b", file.read_text("utf-8"))}
    assert read == {name for name in first_column("variable") if name.startswith("PP_")}


@pytest.mark.parametrize("task", TASKS)
def test_the_counts_of_a_task_are_those_of_its_data(task: str, tmp_path: Path) -> None:
    folder = PROJECT_ROOT / "tasks" / task
    text = (folder / "README.md").read_text("utf-8")
    lines = [json.loads(line) for line in (folder / "data.jsonl").read_text("utf-8").splitlines()]
    for name, told in rows(text, "field"):
        counts = {label: int(n) for label, n in (part.rsplit(" ", 1) for part in told.split(", "))}
        assert counts == dict(Counter(counted(line, name) for line in lines)), name
    known = {line["source_id"] for line in lines}
    in_doubt = " ".join(row[2] for row in rows(text, "in doubt"))
    assert set(re.findall(r"`(\w+-\w+-\d+)`", in_doubt)) <= known
    assert f"{len(lines)} invented messages in {len(known)} situations" in text
    lengths = sorted(len(line["input_text"]) for line in lines)
    assert f"Inputs have {lengths[0]} to {lengths[-1]} characters" in text


def counted(line: dict[str, Any], name: str) -> str:
    """The word that the table has for a row's value."""
    if name.startswith("meta."):
        return str(line["meta"][name.removeprefix("meta.")])
    value = line["output_json"][name]
    if isinstance(value, list):
        return ("none", "one", "two", "three", "four")[len(value)]
    if isinstance(value, bool):
        return str(value).lower()
    field_is_text = name in ("order_id", "merchant", "amount", "date")
    return "null" if value is None else "given" if field_is_text else str(value)


@pytest.mark.parametrize("task", TASKS)
def test_the_splits_of_a_task_are_as_told_and_its_sample_line_is_sound(task: str, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    from pp_assets.task.dataset import build_dataset
    from pp_assets.task.reader import LineChecker, Row
    from pp_assets.task.spec import load_task

    loaded = load_task(task, PROJECT_ROOT / "tasks")
    text = (loaded.folder / "README.md").read_text("utf-8")
    found = build_dataset(loaded, tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "clean.parquet", columns=["split", "source_id"]).to_pylist()
    for split, count, situations in rows(text, "split"):
        assert (found[split], len({row["source_id"] for row in table if row["split"] == split})) == (int(count), int(situations))
    sample = fenced(text, "json").splitlines()[-1]
    assert isinstance(LineChecker(loaded.spec).check("README.md", 1, sample.encode()), Row)


def example(words: str) -> str:
    """The Python example that says these words."""
    (found,) = [code for code in blocks(TOP.read_text("utf-8"), "python") if words in code]
    return found


def run_example(code: str, folder: Path) -> None:
    exec(compile(code.replace('".pp/', f'"{folder}/'), str(folder / "example.py"), "exec"), {"__name__": "example"})


def test_the_worked_example_of_an_experiment_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PP_TRACKING", "off")
    code = example("import Experiment, op")
    for _ in range(2):
        run_example(code.replace('Path("tasks/', f'Path("{PROJECT_ROOT}/tasks/'), tmp_path)
    said = capsys.readouterr().out
    assert "right: most against first:" in said and "exact McNemar" in said
    assert (tmp_path / "experiment.html").stat().st_size > 10_000


def test_the_example_with_trained_models_runs(tmp_path, monkeypatch, capsys):
    from test_package import package, parts

    task, _, _, _, store = parts("encoder-lora")
    monkeypatch.setenv("PP_HOME", str(store.root))
    monkeypatch.setenv("PP_TASKS", str(task.folder.parent))
    names = {"support-triage": "toy", "path/to/package": str(package("encoder-lora").path), "field_exact.category": "field_exact.topic"}
    code = example("path/to/package")
    for name, here in names.items():
        assert name in code
        code = code.replace(name, here)
    run_example(code, tmp_path)
    said = capsys.readouterr().out
    assert "task.field_exact.topic" in said and "toy/encoder-lora" in said


def test_the_example_of_a_contract_runs(tmp_path, capsys):
    run_example(example("load_contract").replace('Path("tasks")', f'Path("{PROJECT_ROOT}/tasks")'), tmp_path)
    assert "'rubric/category': 'no provider is set'" in capsys.readouterr().out

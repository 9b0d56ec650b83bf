"""`pp prompt` on a small task with the embedded base: search, show, tree, export, verify, apply; and as a job."""

import json
import re
from pathlib import Path

import pytest
from command_line import Said, command_line, use_installation
from small_task import write_task
from test_encoder_tokens import tiny_encoder

from pp_assets import names
from pp_assets.execute import QUIET, Runner
from pp_assets.flows.catalogue import KINDS
from pp_assets.flows.work import Kept, Work
from pp_assets.pipeline import answering_spec
from pp_assets.prompts.optimising import Wanted
from pp_assets.prompts.search.export import read_prompt, wording_of
from pp_assets.prompts.search.parts import check_budget
from pp_assets.prompts.search.tree import Tree
from pp_assets.prompts.wording import Wording
from pp_assets.serving.local import worded
from pp_assets.task.examples import count_test_openings
from pp_assets.task.prompt import prompt_words
from pp_assets.task.spec import load_task
from pp_gateway.cli.prompt_events import event_line
from pp_resources.errors import UserError
from pp_resources.settings import Settings

CALLS = "60"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("installation")
    write_task(made / "tasks", "alpha", rows=64, more=f"system_prompt: Say it as JSON.\nencoder_model_id: {tiny_encoder(made / 'encoder')}")
    return made


@pytest.fixture
def pp(root: Path, capfd: pytest.CaptureFixture[str]):
    return command_line(root, capfd)


def ok(pp, *words: str) -> Said:
    said = pp("prompt", *words)
    assert said.code == 0, said.err
    return said


@pytest.fixture
def found(pp) -> dict:
    return ok(pp, "optimise", "alpha", "--calls", CALLS, "--json").json


def test_a_search_keeps_its_budget_and_tells_what_it_found(pp, found, root):
    use_installation(root)
    settings, out = Settings.from_env(), Path(found["path"])
    assert found["calls"] <= int(CALLS) and found["verdict"] in ("RELEASE", "NOT PROVEN", "WORSE") and found["cost_usd"] == 0.0
    head, _, first = (out / "report.md").read_text().split("## Finalists")[1].strip().split("\n\n")[1].split("\n")[:3]
    assert "score (95 % interval)" in head
    shown, low, high, n = map(float, re.search(r"\| ([\d.]+) \(([\d.]+) to ([\d.]+)\) \| (\d+) \|", first).groups())
    assert low <= shown <= high and (shown, n) == (pytest.approx(found["val_best"], abs=1e-4), found["val_rows"])
    assert {"prompt.json", "verdict.json", "tree.json", "report.html", "report.md", "front.png"} <= {file.name for file in out.iterdir()}
    opened = count_test_openings(settings.home / "ledger" / "test_openings.jsonl", "alpha")
    assert opened == int(found["tested"]) and (out / "answers").exists() == found["tested"]
    events = [json.loads(one) for one in (Path(found["state"]) / "events.jsonl").read_text().splitlines()]
    assert events[0]["event"] == "start" and events[-1]["event"] == "gate" and all("at" in one for one in events)
    assert sum(one.get("new", 0) for one in events if one["event"] == "judged") == found["calls"] + found["test_calls"]
    again = ok(pp, "optimise", "alpha", "--calls", CALLS)
    assert "alpha on promptprecision/tiny-base" in again.out and f"{found['path']} (done before: nothing was asked)" in again.out
    listed = ok(pp, "list", "alpha", "--json").json
    assert [one["best"] for one in listed][:1] == [found["best"]]


def test_another_search_pays_for_new_answers_alone(pp, found):
    more = ok(pp, "optimise", "alpha", "--calls", CALLS, "--max-invalid", "0.9", "--json").json
    assert more["path"] != found["path"] and more["calls"] < found["calls"], "other limits: what was answered is free"


def test_what_was_found_is_shown_with_where_it_comes_from(pp, found):
    shown = ok(pp, "show", "alpha")
    assert found["verdict"] in shown.out and "--- user" in shown.out
    tree = ok(pp, "tree", "alpha", "--json").json
    assert tree[0]["source"] == "seed" and {one["id"] for one in tree} >= {found["best"]}
    lines = ok(pp, "tree", "alpha").out.splitlines()
    assert lines[0].startswith(found["start"]) and all(one.startswith("  ") for one in lines[1:])


def test_an_export_is_what_was_scored_and_a_changed_one_is_not(pp, found, tmp_path):
    file = tmp_path / "prompt.json"
    told = ok(pp, "export", "alpha", "--out", str(file), "--json").json
    assert told["digest"].startswith(found["best"])
    assert ok(pp, "verify", "alpha", "--file", str(file), "--json").json["scored"] and ok(pp, "verify", "alpha").code == 0
    prompt = json.loads(file.read_text())
    for change in ({"system": "Say it as XML."}, {"messages": prompt["messages"][:1]}, {"digest": "0" * 64}):
        file.write_text(json.dumps(prompt | change))
        said = pp("prompt", "verify", "alpha", "--file", str(file))
        assert said.code == 2 and "search again, or restore it" in said.err
    file.write_text("{}")
    assert pp("prompt", "verify", "alpha", "--file", str(file)).code == 2


def test_an_applied_prompt_reads_as_what_was_scored(pp, found, root):
    use_installation(root)
    file = root / "tasks" / "alpha" / "task.yaml"
    before = file.read_text()
    if not found["released"]:
        refused = pp("prompt", "apply", "alpha")
        assert refused.code == 2 and f"the test did not release it ({found['verdict']})" in refused.err and file.read_text() == before
    try:
        ok(pp, "apply", "alpha", "--anyway", "--name", "searched")
        spec = load_task("alpha", Settings.from_env().tasks).spec
        served = Wording.of(worded(spec, spec.serving.variants["searched"]))
        prompt = read_prompt(Path(found["path"]) / "prompt.json")
        assert served.messages(spec, "where is it?") == wording_of(prompt).messages(spec, "where is it?")
        assert pp("prompt", "apply", "alpha", "--anyway", "--name", "searched").code == 2, "the name is taken"
        ok(pp, "apply", "alpha", "--anyway", "--name", "searched", "--yes")
        ok(pp, "apply", "alpha", "--anyway", "--name", "second")
        assert set(load_task("alpha", Settings.from_env().tasks).spec.serving.variants) == {"searched", "second"}
        assert file.read_text().startswith(before.rstrip())
    finally:
        file.write_text(before)


def test_an_applied_prompt_takes_the_place_of_the_task_s_own(pp, found, root):
    use_installation(root)
    file, tasks = root / "tasks" / "alpha" / "task.yaml", Settings.from_env().tasks
    before, was = file.read_text(), load_task("alpha", tasks)
    prompt = read_prompt(Path(found["path"]) / "prompt.json")
    changed = prompt["digest"] != Wording.of(was.spec).digest(was.spec)
    try:
        if changed:
            shown = pp("prompt", "apply", "alpha", "--anyway", "--own")
            assert shown.code == 2 and "add --yes" in shown.err and "+instruction_template" in shown.out.replace(" ", "")
            assert file.read_text() == before
        told = ok(pp, "apply", "alpha", "--anyway", "--own", "--yes", "--json").json
        now = load_task("alpha", tasks)
        assert Wording.of(now.spec).digest(now.spec) == prompt["digest"] and bool(told["changes"]) == changed
        assert (now.digest != was.digest) == (answering_spec(now.spec) != answering_spec(was.spec)) == changed
        assert (told["was"] != told["prompt"]) == changed and told["prompt"] == prompt_words(now.spec)["digest"]
        assert ok(pp, "apply", "alpha", "--anyway", "--own").code == 0, "nothing is left to change"
    finally:
        file.write_text(before)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--strategy", "halvin"], "did you mean 'halving'?"),
        (["--until", "exactness>0.9"], "is no stop rule"),
        (["--until", "object_exact>=0.9"], "did you mean"),
        (["--target", "gpt-9"], "no provider 'gpt-9'"),
        (["--calls", "0"], "--calls"),
        (["--budget-usd", "2"], "model 'base': costs nothing, so that a budget in US dollars bounds nothing; bound it by --calls"),
        (["--budget-usd", "2", "--target", "local/promptprecision/tiny-base"], "bound it by --calls"),
        (["--target", "ollama/some", "--budget-usd", "1"], "nobody said what this model costs"),
    ],
)
def test_bad_input_is_refused_with_what_would_do_before_data_is_made_ready(pp, words, said):
    found = pp("prompt", "optimise", "alpha", *words)
    assert found.code == 2 and said in found.err and "contract" not in found.err
    assert len(found.err.splitlines()) == 1, found.err


@pytest.mark.parametrize("more", [{"calls": 9}, {"tokens": 9}, {"writer": "openai/gpt-5-mini"}])
def test_a_budget_in_dollars_is_let_pass_where_something_else_bounds_or_costs(monkeypatch, root, more):
    use_installation(root)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    wanted = Wanted(usd=2.0, **more)
    check_budget(wanted.target, wanted.writer, wanted.budget, Settings.from_env())


def test_progress_says_who_made_a_candidate_and_what_it_is():
    tree = Tree()
    made = {"source": "seed", "parents": [], "note": "", "by": ""}
    note = "the order of the sentences is turned around so that the form stands last"
    events = [
        {"event": "start", "candidate": "a1b2c3d4e5f6", **made, "strategy": "halving", "train": 30, "val": 12, "goes_on": False},
        {"event": "judged", "candidate": "a1b2c3d4e5f6", "split": "val", "new": 12, "rows": 12, "score": 0.5, "calls": 12},
        {"event": "proposed", "candidate": "0f9e8d7c6b5a", "round": 1, **made, "source": "operator:turned", "note": note},
        {"event": "refused", "candidate": "0f9e8d7c6b5a", "reasons": ["too long"]},
        {"event": "round", "round": 1, "best": "a1b2c3d4e5f6", "score": 0.5, "calls": 12},
    ]
    said = []
    for event in events:
        tree.hear(event)
        said.append(event_line(event, tree.nodes))
    assert said == [
        "  halving: 30 rows to learn from, 12 to choose by",
        "  a1b2c3 (the task's own): 0.500 on 12 rows, 12 calls",
        "",
        "  0f9e8d (operator:turned, the order of the sentences is turned around so that the…): refused: too long",
        "  round 1: best a1b2c3 (the task's own): 0.500 after 12 calls",
    ]


def test_a_file_in_no_folder_is_refused(pp, found, root):
    said = pp("prompt", "export", "alpha", "--out", str(root / "none" / "prompt.json"))
    assert said.code == 2 and "its folder does not exist" in said.err and "Traceback" not in said.err
    said = pp("lineage", "alpha", "--out", str(root))
    assert said.code == 2 and "is a folder" in said.err


def test_nothing_to_show_before_a_search(pp, found, root):
    write_task(root / "tasks", "beta", rows=64)
    said = pp("prompt", "show", "beta")
    assert said.code == 2 and "pp prompt optimise beta" in said.err
    said = pp("prompt", "show", "alpha", "--target", "openai/gpt-4.1")
    assert said.code == 2 and "add what was searched: --target base" in said.err
    assert "was searched yet" in ok(pp, "list", "beta").out


def test_a_job_tells_its_events_and_a_dagster_run_the_verdict(root, found):
    use_installation(root)
    settings, kept = Settings.from_env(), Kept()
    with Runner(settings, tracking=False) as runner:
        flow = KINDS["tune_prompt"]
        asked = flow.model.model_validate({"task": "alpha", "calls": 60, "strategy": "mipro", "seed": 5})
        told = flow.run(Work(settings, kept, runner), asked)
        made = runner.defs.resolve_job_def(names.JOB_TUNE_PROMPT)
        config = {**QUIET, "ops": {"search_prompt": {"config": {"task": "alpha", "calls": int(CALLS)}}}}
        result = made.execute_in_process(run_config=config, instance=runner.instance)
        config["ops"]["search_prompt"]["config"] |= {"max_tokens": 1.0, "max_latency_ms": 1e6, "max_invalid": 0.9}
        limited = made.execute_in_process(run_config=config, instance=runner.instance)
    assert {"start", "judged", "gate"} <= {row["event"] for row in kept.rows} and json.dumps([told, kept.rows])
    assert told["strategy"] == "mipro" and told["prompt"]["candidate"] == told["best"] and told["calls"] <= 60
    [seen] = [event.asset_observation_data.asset_observation for event in result.get_asset_observation_events()]
    assert seen.metadata["verdict"].value == found["verdict"] and seen.metadata["path"].value == found["path"]
    [seen] = [event.asset_observation_data.asset_observation for event in limited.get_asset_observation_events()]
    assert seen.metadata["path"].value != found["path"] and seen.metadata["verdict"].value != "RELEASE", "no answer is one token long"


def test_a_dagster_run_refuses_what_cannot_be_as_the_command_does(root):
    use_installation(root)
    with Runner(Settings.from_env(), tracking=False) as runner:
        made = runner.defs.resolve_job_def(names.JOB_TUNE_PROMPT)
        config = {**QUIET, "ops": {"search_prompt": {"config": {"task": "alpha", "usd": 1.0}}}}
        with pytest.raises(UserError, match="bounds nothing"):
            made.execute_in_process(run_config=config, instance=runner.instance)

"""Ensembles through the commands that all variants have: trained, evaluated, packaged, verified, asked."""

import io
import json
from pathlib import Path

import pytest
from causal_tiny import write_tiny_base
from command_line import command_line
from small_task import write_task

from pp_assets.ensembles import member_artifacts, members_first, with_members
from pp_assets.packaging.layout import unsafe
from pp_assets.pipeline import Pipeline
from pp_assets.task.spec import load_task
from pp_assets.training.overrides import recipe_of
from pp_resources.errors import UserError
from pp_resources.settings import Settings

MORE = "params: {encoder-lora: {epochs: 2, r: 4, alpha: 8}, ensemble-stack: {members: [encoder-frozen, encoder-lora]}}"


def task(tmp_path: Path, more: str):
    write_task(tmp_path, "alpha", more=more)
    return load_task("alpha", tmp_path)


def test_members_are_named_or_are_the_other_variants(tmp_path):
    named = task(tmp_path, MORE)
    assert with_members(named, recipe_of(named, "ensemble-stack")).members == ["encoder-frozen", "encoder-lora"]
    with pytest.raises(UserError, match="needs two or more different members, has encoder-frozen"):
        with_members(named, recipe_of(named, "ensemble-vote"))


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ("[encoder-lora, ensemble-route]", "ensemble-route is an ensemble itself"),
        ("[encoder-lora, encoder-lora]", "needs two or more different members"),
        ("[encoder-lora, encoder-lore]", "did you mean 'encoder-lora'?"),
        ("3", "members is 3"),
    ],
)
def test_members_that_cannot_be_are_told(tmp_path, members, said):
    found = task(tmp_path, f"params: {{ensemble-vote: {{members: {members}}}}}")
    with pytest.raises(UserError) as error:
        with_members(found, recipe_of(found, "ensemble-vote"))
    assert said in str(error.value)


def test_ensembles_come_after_what_they_are_made_of():
    assert members_first(["ensemble-vote", "lora-r8", "encoder-lora"]) == ["lora-r8", "encoder-lora", "ensemble-vote"]


def test_files_of_members_are_checked_as_those_of_packages(tmp_path):
    good = ["members/lora-r8/training.json", "members/lora-r8/adapter/heads.safetensors", "members/lora-r8/tokenizer/vocab.txt"]
    bad = ["members/lora-r8/adapter/model.bin", "members/lora-r8/run.py", "members/Not a slug/training.json"]
    bad += ["members/x/members/y/training.json"]
    for name in good + bad:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert sorted(problem.partition(":")[0] for problem in unsafe(tmp_path)) == sorted(bad)


@pytest.mark.slow
def test_an_ensemble_is_trained_packaged_verified_and_asked(tmp_path, capfd, monkeypatch):
    write_task(tmp_path / "tasks", "alpha", rows=160, more=MORE)
    pp = command_line(tmp_path, capfd)
    early = pp("train", "alpha", "-v", "ensemble-stack")
    assert early.code == 2 and "pp run alpha --variant encoder-frozen" in early.err, "members are trained first"
    done = pp("run", "alpha", "-v", "ensemble-stack", "-v", "encoder-frozen", "-v", "encoder-lora", "--json")
    assert done.code == 0, done.err
    folder = next((tmp_path / "pp" / "packages" / "alpha" / "ensemble-stack").glob("*/manifest.json")).parent
    training = json.loads((folder / "training.json").read_text())
    assert list(training["members"]) == ["encoder-frozen", "encoder-lora"] and training["val_gain"]["low"] <= training["val_gain"]["high"]
    report = json.loads((folder / "eval_report.json").read_text())
    assert {"encoder-frozen", "encoder-lora"} <= set(report["comparisons"]), "it is compared with its members"
    evaluated = next((tmp_path / "pp" / "evaluations" / "alpha" / "ensemble-stack").glob("*/manifest.json"))
    assert json.loads(evaluated.read_text())["metadata"]["asked"] == 0, "its members had answered these texts"
    verified = pp("package", "verify", str(folder))
    assert verified.code == 0, verified.out
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"the parcel never came, order A-1234\n")))
    (record,) = pp("predict", str(folder), "--distributions").lines
    assert record["valid"] and set(record["output"]) == {"kind", "order"} and record["choices"]["kind"]
    card = (folder / "README.md").read_text()
    assert "encoder-frozen, encoder-lora together, by stack" in card
    combiner = folder / "combiner.json"
    combiner.chmod(0o644)
    combiner.write_text(combiner.read_text().replace("encoder-lora", "../evil-lora"))
    assert pp("package", "verify", str(folder)).code == 1


@pytest.mark.slow
def test_a_causal_member_is_weighed_routed_packaged_and_verified(tmp_path, capfd, monkeypatch):
    base = write_tiny_base(tmp_path / "base")
    members = "{members: [encoder-frozen, lora-r8]}"
    more = f"base_model_id: {base}\nparams: {{encoder-frozen: {{epochs: 2}}, lora-r8: {{epochs: 1}}, "
    write_task(tmp_path / "tasks", "alpha", rows=160, more=more + f"ensemble-weighted: {members}, ensemble-route: {members}}}")
    pp = command_line(tmp_path, capfd)
    variants = ("encoder-frozen", "lora-r8", "ensemble-weighted", "ensemble-route")
    done = pp("run", "alpha", *(word for name in variants for word in ("-v", name)), "--json")
    assert done.code == 0, done.err
    for name in variants[2:]:
        folder = next((tmp_path / "pp" / "packages" / "alpha" / name).glob("*/manifest.json")).parent
        training = json.loads((folder / "training.json").read_text())
        families = {member: told["family"] for member, told in training["members"].items()}
        assert families == {"encoder-frozen": "encoder", "lora-r8": "causal"}
        assert 1 <= training["val_calls"] <= 2 and (name == "ensemble-route" or training["val_calls"] == 2)
        verified = pp("package", "verify", str(folder))
        assert verified.code == 0, verified.out
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"the parcel never came, order A-1234\n")))
        (record,) = pp("predict", str(folder)).lines
        assert record["valid"] and set(record["output"]) == {"kind", "order"}
        assert json.loads((folder / "eval_report.json").read_text())["comparisons"]["lora-r8"]["n"] > 0


@pytest.mark.slow
def test_members_of_other_data_are_trained_again_before_they_are_combined(tmp_path):
    place = Pipeline(Settings(home=tmp_path / "pp", tasks=tmp_path / "tasks", threads=1))
    folder = write_task(place.settings.tasks, "alpha", rows=120, more=MORE.replace("ensemble-stack", "ensemble-vote"))
    data = [place.seeds, place.contract, place.generated_data, place.clusters, place.evaluated_inputs]
    for stage in data:
        stage("alpha")
    old = [place.adapter("alpha", name).digest for name in ("encoder-frozen", "encoder-lora")]
    first = place.adapter("alpha", "ensemble-vote")
    assert list(member_artifacts(place, first)) == ["encoder-frozen", "encoder-lora"]
    lines = (folder / "data.jsonl").read_text().splitlines()
    (folder / "data.jsonl").write_text("\n".join(lines[:-8]) + "\n")
    for stage in data:
        stage("alpha")
    second = place.adapter("alpha", "ensemble-vote")
    new = [one.digest for one in member_artifacts(place, second).values()]
    assert not set(old) & set(new) and [one.digest for one in member_artifacts(place, first).values()] == old

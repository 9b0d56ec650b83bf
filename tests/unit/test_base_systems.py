"""The bare base model as a baseline: what it answers is kept, and depends on what answers alone."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from causal_tiny import examples, spec_on, write_tiny_base
from small_task import write_task

from pp_assets.base_systems import BareModel, bare_models
from pp_assets.kept import KeptPredictor
from pp_assets.pipeline import BASELINES, Pipeline
from pp_assets.results import baseline_ranks
from pp_assets.task.spec import Task
from pp_resources.settings import Settings

TRAIN = examples(12, 1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("base"))


def task(base: Path, **changes) -> Task:
    return Task(spec_on(base, decoding={"few_shot": 2, "max_new_tokens": 8}, **changes), base, "", base)


def asked(cells: Path, made: Task, texts, train=TRAIN) -> tuple[dict[str, list[str]], dict[str, int]]:
    """(answers, texts that were asked) by system."""
    calls = Counter()
    found = bare_models(made, train)
    said = {model.name: KeptPredictor(cells, model, "1", asked=calls).predict(texts) for model, _ in found}
    return {name: [p.text for p in answers] for name, answers in said.items()}, dict(calls)


def test_one_more_text_is_asked_once_a_system_and_scoring_asks_nothing(base, tmp_path):
    texts, cells = [e.input_text for e in examples(6, 2)], tmp_path / "cells.db"
    names = ["base-zero-shot", "base-zero-shot-constrained", "base-few-shot", "base-few-shot-constrained"]
    first, calls = asked(cells, task(base), texts)
    assert list(first) == names and calls == dict.fromkeys(names, len(set(texts)))
    assert asked(cells, task(base, primary_metric={"name": "field_exact.topic", "alpha": 0.01}), texts)[1] == dict.fromkeys(names, 0)
    more, calls = asked(cells, task(base), [*texts, "Where is B9?"])
    assert calls == dict.fromkeys(names, 1) and {name: said[:-1] for name, said in more.items()} == first


def test_what_changes_the_answers_asks_again_where_it_does(base, tmp_path):
    texts, cells = [e.input_text for e in examples(4, 3)], tmp_path / "cells.db"
    asked(cells, task(base), texts)
    _, calls = asked(cells, task(base), texts, examples(12, 5))
    assert {name for name, count in calls.items() if count} == {"base-few-shot", "base-few-shot-constrained"}, (
        "other examples in the prompt"
    )
    assert all(asked(cells, task(base, system_prompt="Another."), texts)[1].values())


def test_an_identity_holds_all_that_answers(base):
    (model, said), *others = bare_models(task(base), TRAIN)
    assert "no examples in the prompt, free" in said and isinstance(model, BareModel)
    changed = [replace(model, bound=True), replace(model, budget=9), replace(model, schema={**model.schema, "x": 1})]
    changed += [replace(model, prompt=replace(model.prompt, after="?")), *(other for other, _ in others)]
    identities = [one.identity for one in [model, *changed]]
    assert len(set(identities)) == len(identities) - 1, "bound is what the second system is"


def variants(folder: Path, base: Path, names: str) -> None:
    file = folder / "task.yaml"
    text = file.read_text("utf-8").replace("variants: [encoder-frozen]", f"variants: [{names}]\nbase_model_id: {base}")
    file.write_text(text + "decoding: {max_new_tokens: 4}\n", "utf-8")


@pytest.mark.slow
def test_baselines_are_of_what_answers_and_their_ranks_of_what_scores(base, tmp_path):
    p = Pipeline(Settings(tmp_path / "home", tmp_path / "tasks", 1))
    variants(write_task(p.settings.tasks, "alpha", rows=60), base, "lora-r8")
    for stage in (p.seeds, p.contract, p.generated_data, p.clusters, p.evaluated_inputs):
        stage("alpha")
    first = p.baselines("alpha")
    assert first.metadata["asked"] > 0 and baseline_ranks(p, "alpha", first)["metric"] == "object_exact_match"
    variants(write_task(p.settings.tasks, "alpha", rows=60, more="primary_metric: {name: field_exact.kind, alpha: 0.1}"), base, "lora-r8")
    again = p.baselines("alpha")
    assert again.reused and again.digest == first.digest
    ranks = baseline_ranks(p, "alpha", again)
    assert ranks["metric"] == "field_exact.kind" and len(ranks["table"]) == again.metadata["systems"]

    variants(write_task(p.settings.tasks, "alpha", rows=60), base, "encoder-frozen, lora-r8")
    both = p.baselines("alpha")
    assert both.stale_because == ("frozen", "val") and both.metadata["asked"] == 0
    more = "primary_metric: {name: field_exact.kind}"
    variants(write_task(p.settings.tasks, "alpha", rows=60, more=more), base, "encoder-frozen, lora-r8")
    other = p.baselines("alpha")
    assert other.stale_because == ("frozen",) and other.metadata["asked"] == 0, "heads choose their epoch by the metric"
    assert p.current(BASELINES, "alpha").digest == other.digest

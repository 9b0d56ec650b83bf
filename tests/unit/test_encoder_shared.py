"""Several tasks on one encoder in memory."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from test_encoder_tokens import tiny  # noqa: F401
from test_encoder_training import ASKED, FROZEN, OUTPUT, train
from transformers import AutoModel

from pp_resources.models.encoder.predictor import EncoderPredictor
from pp_resources.models.encoder.shared import SharedEncoder

INTENT = {"type": "object", "required": ["intent"], "properties": {"intent": OUTPUT["properties"]["intent"]}}
TASKS = {"all": OUTPUT, "intent.only": INTENT, "frozen": OUTPUT}


@pytest.fixture(scope="module")
def folders(tiny, tmp_path_factory):  # noqa: F811
    out = tmp_path_factory.mktemp("shared")
    train(tiny, out / "all")
    train(tiny, out / "intent.only", output=INTENT, seed=7)
    train(tiny, out / "frozen", recipe=FROZEN)
    return out


@pytest.fixture(scope="module")
def shared(tiny, folders):  # noqa: F811
    """(the encoder, a predictor for each task)."""
    encoder = SharedEncoder(tiny)
    return encoder, {name: encoder.add(name, folders / name, schema) for name, schema in TASKS.items()}


def same_answers(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.text == other.text
        assert one.fields == pytest.approx(other.fields, abs=1e-4)


def test_each_task_answers_as_it_does_alone_whichever_was_asked_before(tiny, folders, shared):  # noqa: F811
    alone = {name: EncoderPredictor.load(name, folders / name, tiny, schema).predict(ASKED) for name, schema in TASKS.items()}
    _, predictors = shared
    for name in ("all", "intent.only", "all", "frozen", "intent.only", "frozen", "all"):
        same_answers(predictors[name].predict(ASKED), alone[name])
    adapters = [a.fields["intent"] for a in alone["all"]], [a.fields["intent"] for a in alone["intent.only"]]
    assert adapters[0] != pytest.approx(adapters[1], abs=1e-3)


def test_the_base_weights_are_in_memory_once(tiny, shared):  # noqa: F811
    encoder, predictors = shared
    names = [name for name, _ in encoder.base.named_parameters() if "lora_" not in name]
    plain = sum(p.numel() for p in AutoModel.from_pretrained(tiny).parameters())
    assert sum(encoder.base.get_parameter(name).numel() for name in names) == plain
    assert all(predictor.encoder._shared.base is encoder.base for predictor in predictors.values())
    lora = [p for name, p in encoder.base.named_parameters() if "lora_" in name]
    assert len({p.untyped_storage().data_ptr() for p in encoder.base.parameters()}) == len(names) + len(lora)
    assert not any(p.requires_grad for p in lora)


def test_tasks_may_be_asked_from_several_threads(shared):
    _, predictors = shared
    expected = {name: predictor.predict(ASKED) for name, predictor in predictors.items()}
    names = list(TASKS) * 6
    with ThreadPoolExecutor(4) as pool:
        for name, found in zip(names, pool.map(lambda name: predictors[name].predict(ASKED), names)):
            same_answers(found, expected[name])
    assert torch.is_grad_enabled()

from dataclasses import fields
from types import SimpleNamespace

import pytest

from pp_assets.training.params import CausalParams, EncoderParams, EnsembleParams
from pp_assets.training.recipes import RECIPES, check_variant, get_recipe
from pp_resources.artifacts import SLUG
from pp_resources.errors import UserError

LIST = {"type": "object", "properties": {"n": {"type": "array"}}}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def test_names_of_recipes_are_slugs_and_their_parameters_fit_the_family():
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert SLUG.match(name)
        assert isinstance(recipe.params, {"encoder": EncoderParams, "causal": CausalParams, "ensemble": EnsembleParams}[recipe.family])
        assert recipe.description


def test_the_default_variants_of_a_task_are_recipes():
    from pp_assets.task.spec import TaskSpec

    assert {get_recipe(name).family for name in TaskSpec.model_fields["variants"].default} == {"encoder", "causal"}


def test_an_unknown_variant_is_refused_with_the_nearest_name():
    assert get_recipe("encoder-lora") is RECIPES["encoder-lora"]
    with pytest.raises(UserError) as error:
        get_recipe("encoder-lore", where="toy: variant")
    assert str(error.value) == "toy: variant: unknown variant 'encoder-lore'; did you mean 'encoder-lora'?"


def test_an_encoder_is_checked_against_schema_and_data_and_a_causal_model_takes_anything():
    rows = [SimpleNamespace(input_text="to Oslo", output={"city": "Bergen"})]
    assert check_variant(RECIPES["lora-r8"], LIST, rows) == []
    (problem,) = check_variant(RECIPES["encoder-lora"], LIST, [])
    assert problem.startswith("field 'n' is free-form") and problem.endswith("which no encoder head can produce: use a causal variant")
    (problem,) = check_variant(RECIPES["encoder-frozen"], CITY, rows)
    assert problem.startswith("field 'city' is not copied from the input (1 of 1 values are not in it)")
    assert check_variant(RECIPES["encoder-lora"], CITY, [SimpleNamespace(input_text="to Oslo", output={"city": "Oslo"})]) == []


def test_parameters_of_recipes_differ_from_each_other():
    seen = [(r.family, *(str(getattr(r.params, f.name)) for f in fields(r.params))) for r in RECIPES.values()]
    assert len(set(seen)) == len(seen)

"""A variant or a prompt written into a task file: everything else stays as its author wrote it."""

import json
from pathlib import Path

import pytest
from small_task import write_task

from pp_assets.task.spec import load_task
from pp_assets.task.spec_edit import words_written, write_variant, write_words
from pp_resources.errors import UserError

MADE = {
    "kind": "prompt",
    "system_prompt": 'Say "it": a\\b,\nas JSON # no comment',
    "instruction_template": "{{ input_text }} – ü 😀 {{ '{' }}% raw",
}
OTHER = "{kind: package, recipe: encoder-frozen}"


@pytest.mark.parametrize(
    "more",
    [
        "",
        "serving:\n  timeout: 5  # seconds",
        "serving:  # how it answers\n  variants:\n    # trained\n    own: " + OTHER + "\n  timeout: 5",
        "serving:\n  timeout: 5\n  variants: {own: " + OTHER + "}",
        "serving: {timeout: 5}",
        "serving: {timeout: 5, variants: {own: " + OTHER + "}}",
        "serving: {}",
        "serving:\n  variants: {}\n  timeout: 5",
        "serving:\n",
    ],
)  # fmt: skip
def test_a_variant_is_added_and_then_replaced(tmp_path: Path, more: str) -> None:
    folder = write_task(tmp_path, "alpha", rows=4, more=f"{more}\n# the end")
    before = load_task("alpha", tmp_path)
    write_variant(before, "searched", MADE)
    text, after = (folder / "task.yaml").read_text(), load_task("alpha", tmp_path)
    made = after.spec.serving.variants["searched"]
    assert (made.system_prompt, made.instruction_template) == (MADE["system_prompt"], MADE["instruction_template"])
    rest = {name: one for name, one in after.spec.serving.variants.items() if name != "searched"}
    assert rest == (before.spec.serving.variants if before.spec.serving else {}) and "# the end" in text
    assert all(word in text for word in ("# seconds", "# how it answers", "# trained") if word in more)
    if before.spec.serving:
        assert after.spec.serving.timeout == before.spec.serving.timeout
    write_variant(after, "searched", MADE | {"system_prompt": "Otherwise."})
    again = load_task("alpha", tmp_path).spec.serving.variants
    assert again["searched"].system_prompt == "Otherwise." and len(again) == len(rest) + 1


TEXTS = [
    "One.\n\n  Two: # three\n",
    " \nfirst\n",
    "ends\n\n",
    "\n",
    "a \nb",
    "x\u2028y\nz",
    "tab\there\n- {{ input_text }}",
    "no: a",
    "1.5",
    "",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("more", ["", "serving: {timeout: 5, variants: {}}", "serving:\n    variants:\n        own: " + OTHER + "\n\n\n"])
def test_every_text_of_a_variant_is_read_as_it_was_given(tmp_path: Path, text: str, more: str) -> None:
    file = write_task(tmp_path, "alpha", rows=4, more=f"{more}\n# the end") / "task.yaml"
    for given in (text, f"{text}!", text):
        write_variant(load_task("alpha", tmp_path), "searched", {"kind": "prompt", "system_prompt": given, "reasoned": True})
        made = load_task("alpha", tmp_path).spec.serving.variants["searched"]
        assert (made.system_prompt, made.reasoned) == (given, True) and "# the end\n" in file.read_text()


def test_a_variant_is_written_for_people_to_read(tmp_path: Path) -> None:
    file = write_task(tmp_path, "alpha", rows=4, more="serving:\n  variants:\n    own: " + OTHER + "  # trained") / "task.yaml"
    write_variant(load_task("alpha", tmp_path), "searched", {"kind": "prompt", "system_prompt": "Be brief.\n\nBe right.\n"})
    wanted = "serving:\n  variants:\n    searched:\n      kind: prompt\n      system_prompt: |\n        Be brief.\n\n        Be right.\n"
    assert f"{wanted}    own: {OTHER}  # trained" in file.read_text()
    write_variant(load_task("alpha", tmp_path), "searched", {"kind": "prompt", "system_prompt": "Be brief."})
    assert f"searched:\n      kind: prompt\n      system_prompt: Be brief.\n    own: {OTHER}  # trained" in file.read_text()


def test_a_task_in_braces_stays_in_them(tmp_path: Path) -> None:
    file = write_task(tmp_path, "alpha", rows=4) / "task.yaml"
    file.write_text(json.dumps(load_task("alpha", tmp_path).spec.model_dump(mode="json", exclude={"serving"})) + "  # generated\n")
    for system in ("One.\nTwo.\n", "Three."):
        write_variant(load_task("alpha", tmp_path), "searched", MADE | {"system_prompt": system})
        write_words(load_task("alpha", tmp_path), system, "{{ input_text }}\n")
        made = load_task("alpha", tmp_path).spec
        assert made.serving.variants["searched"].system_prompt == made.system_prompt == system
        assert file.read_text().startswith("{") and file.read_text().endswith("}  # generated\n")


def test_a_json_task_gets_it_too(tmp_path: Path) -> None:
    folder = write_task(tmp_path, "alpha", rows=4)
    plain = load_task("alpha", tmp_path).spec.model_dump(mode="json")
    (folder / "task.yaml").unlink()
    (folder / "task.json").write_text(json.dumps(plain))
    write_variant(load_task("alpha", tmp_path), "searched", MADE)
    assert load_task("alpha", tmp_path).spec.serving.variants["searched"].system_prompt == MADE["system_prompt"]


def test_a_variant_that_is_none_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = write_task(tmp_path, "alpha", rows=4) / "task.yaml"
    before = file.read_text()
    with pytest.raises(UserError, match="cost"):
        write_variant(load_task("alpha", tmp_path), "searched", {"kind": "prompt", "cost": -1.0})
    assert file.read_text() == before


@pytest.mark.parametrize("system", ["", "system_prompt: |\n  One.\n\n  Two.\n\n# between\n", 'system_prompt: "One\n  two"  # said\n'])
@pytest.mark.parametrize("template", ["{{ input_text }}", "Say it.\n\n  Input: {{ input_text }}\nOutput:\n", "a: b # c\n{{ input_text }} "])
def test_a_task_s_own_words_are_replaced_alone(tmp_path: Path, system: str, template: str) -> None:
    file = write_task(tmp_path, "alpha", rows=4, more=f"{system}gates: []  # none yet\n# the end") / "task.yaml"
    before = load_task("alpha", tmp_path)
    wanted = words_written(before, "Be brief.\nBe right.", template)
    assert file.read_text() != wanted
    write_words(before, "Be brief.\nBe right.", template)
    after, text = load_task("alpha", tmp_path), file.read_text()
    assert text == wanted and (after.spec.system_prompt, after.spec.instruction_template) == ("Be brief.\nBe right.", template)
    left = {"system_prompt", "instruction_template"}
    assert after.spec.model_dump(exclude=left) == before.spec.model_dump(exclude=left)
    assert "gates: []  # none yet\n# the end" in text and ("# between" in text or "# between" not in system)
    write_words(after, "Be brief.\nBe right.", template)
    assert file.read_text() == text, "nothing to change"

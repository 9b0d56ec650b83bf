"""`pp flywheel` and `pp champion` on real files and a real store."""

import json

import pytest
from command_line import command_line
from flywheel_place import Wheel
from small_task import write_task
from test_encoder_tokens import tiny_encoder

from pp_assets.champion import promote, read_champion
from pp_assets.flywheel.stage import turn
from pp_assets.pipeline import DATASETS, EVALUATIONS, PACKAGES, PROMPTS, Pipeline
from pp_resources.settings import Settings


@pytest.fixture
def wheel(tmp_path):
    made = Wheel(tmp_path)
    made.settings.home.rename(tmp_path / "pp")
    made.settings = Settings(tmp_path / "pp", made.settings.tasks, threads=1)
    return made


@pytest.fixture
def pp(wheel, tmp_path, capfd):
    return command_line(tmp_path, capfd)


def test_where_it_stands_what_was_decided_and_the_way_back(wheel, pp):
    assert "no champion yet" in pp("flywheel", "toy").out
    champion = wheel.champion()
    candidate = wheel.packed("v2", 190).digest
    looked = pp("flywheel", "toy", "--json").json
    assert looked["state"]["stage"] == "idle" and looked["decided"] == [] and wheel.stands == (champion, None), "looking does nothing"
    for _ in range(2):  # the second one has nothing to do
        assert pp("flywheel", "toy", "--advance", "--json").json["state"]["stage"] == "shadow"
    wheel.served(40, champion, ("candidate", candidate), said="hidden")
    shown = pp("flywheel", "toy").out
    assert "because" in shown and "agreement" in shown and "in place of v1" in shown
    assert "decided" in pp("flywheel", "toy", "--advance").out and wheel.stands == (candidate, champion)

    assert "needs a reason" in pp("champion", "toy", "--rollback").err and wheel.stands[0] == candidate
    assert [one["variant"] for one in pp("champion", "toy", "--json").json["champions"]] == ["v2", "v1"]
    back = pp("champion", "toy", "--rollback", "--reason", "it is rude")
    assert back.code == 0 and back.out == f"toy: v1 {champion[:8]} is the champion again\n" and wheel.stands == (champion, None)
    assert f"taken back: {candidate[:8]}" in pp("champion", "toy").out
    assert "somebody else made v1" in pp("flywheel", "toy", "--advance").out
    told = pp("flywheel", "toy", "--history", "--json").json["decisions"]
    assert [one["state"]["stage"] for one in told] == ["idle", "watch", "shadow", "idle"]
    assert told[1]["numbers"]["pairs"]["n"] == 40 and "in place of" in pp("flywheel", "toy", "--history").out
    assert turn(wheel.pipeline, "toy").state.stage == "idle"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("champion", "toy"), "there is no champion yet"),
        (("champion", "toy", "--rollback", "--reason", "x"), "there is no earlier champion"),
        (("champion", "toy", "--reason", "x"), "is for --rollback"),
        (("flywheel", "nothing"), "unknown task 'nothing'"),
    ],
)
def test_wrong_input_is_told_in_one_line(pp, words, message):
    said = pp(*words)
    assert said.code == 2 and message in said.err and len(said.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"flywheel": {"enabled": "yes"}}, "enabled"),
        ({"flywheel": {"copys": 3}}, "copys"),
        ({"serving": {"variants": {"candidate": {"kind": "package", "recipe": "v1"}}}}, "on trial"),
        ({"serving": {"variants": {"one": {"kind": "package", "recipe": "v1"}}}}, "stage: champion"),
        ({"serving": {"variants": {"one": {"kind": "package"}}}}, "stage: champion without one"),
    ],
)
def test_a_section_that_is_not_sound_is_refused(wheel, pp, more, message):
    file = wheel.settings.tasks / "toy" / "task.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | more))
    said = pp("flywheel", "toy")
    assert said.code == 2 and message in said.err


@pytest.mark.slow
def test_advancing_trains_on_what_people_said_and_tests_it(tmp_path, capfd):
    write_task(tmp_path / "tasks", "alpha", more="flywheel: {enabled: true, least_new: 2}")
    pp = command_line(tmp_path, capfd)
    assert pp("run", "alpha").code == 0
    p = Pipeline(Settings.from_env())
    packed, report = (p.store.current(kind, "alpha/encoder-frozen") for kind in (PACKAGES, EVALUATIONS))
    promote(p, "alpha", "encoder-frozen", packed, report)
    for text in ("they billed me for a box that i sent back", "the courier wants money at the door"):
        assert pp("feedback", "add", "alpha", text, "--output", '{"kind": "billing", "order": null}').code == 0
    made = pp("flywheel", "alpha", "--advance", "--json")
    assert made.code == 0, made.err
    assert "2 new demonstrations" in made.json["decided"][1] and made.json["state"]["round"] == 1
    assert p.store.current(DATASETS, "alpha").metadata["feedback_rows"] == 2
    fresh = p.store.current(PACKAGES, "alpha/encoder-frozen")
    assert fresh.digest != packed.digest, "it was trained on them"
    assert read_champion(p.settings.home, "alpha").package_digest == packed.digest, "and does not answer yet"
    assert made.json["state"]["stage"] in ("idle", "shadow") and "alpha" in pp("flywheel", "alpha").out


@pytest.mark.slow
def test_advancing_searches_a_prompt_on_what_people_said_without_any_champion(tmp_path, capfd):
    more = f"flywheel: {{enabled: true, prompts: {{least_new: 2, calls: 30}}}}\nencoder_model_id: {tiny_encoder(tmp_path / 'encoder')}"
    write_task(tmp_path / "tasks", "alpha", more=more)
    pp = command_line(tmp_path, capfd)
    for text in ("they billed me for a box that i sent back", "the courier wants money at the door"):
        assert pp("feedback", "add", "alpha", text, "--output", '{"kind": "billing", "order": null}').code == 0
    made = pp("flywheel", "alpha", "--advance", "--json")
    assert made.code == 0, made.err
    p, search = Pipeline(Settings.from_env()), made.json["state"]["search"]
    assert (search["stage"], search["round"], search["to"]) == ("idle", 1, 2) and len(made.json["decided"]) == 3
    [found] = p.store.versions(PROMPTS, "alpha/base")
    assert p.store.current(DATASETS, "alpha").metadata["feedback_rows"] == 2 and found.metadata["calls"] <= 30
    assert found.metadata["verdict"] in made.json["decided"][2] and "calls" in pp("flywheel", "alpha", "--history").out
    again = pp("flywheel", "alpha", "--advance", "--json").json
    assert again["decided"] == [] and again["state"]["search"] == search

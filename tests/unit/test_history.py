"""The trend over packages: who is tested, what is an alarm, and that a test against the champion keeps it."""

import json
import os
from dataclasses import replace

import pytest
from command_line import command_line
from small_task import write_task
from test_eval_predictions import answers, spec

from pp_assets.evaluation.predictions import PredictionRow, System, write_systems
from pp_assets.evaluation.trend import Release, trend, trend_plot
from pp_assets.pipeline import EVALUATIONS, PACKAGES, Pipeline
from pp_gateway.cli.history import _points
from pp_resources.settings import Settings

RIGHT, WRONG = '{"kind":"billing","order":null}', '{"kind":"returns","order":null}'


def release(day, accuracy, variant="v", champion=False, **more):
    return Release(f"p{day}", f"2026-01-{day:02}", variant, "SHIP", answers(accuracy, 1000 + day, **more), champion)


def test_each_package_has_an_interval_and_a_test_against_the_champion():
    stood = release(1, 0.9, champion=True)
    found = trend(spec(), [stood, release(2, 0.9), release(3, 0.5, "w")], stood.rows)
    assert [p["outcome"] for p in found["points"]] == ["CHAMPION", "INCONCLUSIVE", "FAIL"]
    assert all(p["low"] < p["value"] < p["high"] and p["n"] == 200 for p in found["points"])
    assert found["looks"] == 2 and found["points"][0]["p_holm"] is None and found["points"][2]["p_holm"] < 0.001
    assert len(found["alerts"]) == 1 and found["alerts"][0].startswith("w p3: the challenger is worse")


def test_only_the_newest_package_of_a_variant_is_an_alarm():
    stood = release(1, 0.9, champion=True)
    found = trend(spec(), [stood, release(2, 0.5), release(3, 0.95)], stood.rows)
    assert found["points"][1]["outcome"] == "FAIL" and found["alerts"] == []


def test_many_looks_need_more_to_be_an_alarm():
    stood = release(1, 0.9, champion=True, n=100)
    worse = release(41, 0.8, n=100)
    alone = trend(spec(), [stood, worse], stood.rows)
    crowd = trend(spec(), [stood, *(release(i, 0.9, n=100) for i in range(2, 12)), worse], stood.rows)
    assert crowd["looks"] == 11 and crowd["points"][-1]["p_holm"] >= alone["points"][-1]["p_holm"]
    assert alone["points"][-1]["outcome"] == crowd["points"][-1]["outcome"] == "FAIL"
    assert alone["alerts"] and not crowd["alerts"]


def test_other_items_are_not_tested_and_are_another_series():
    stood = release(1, 0.9, champion=True)
    found = trend(spec(), [stood, release(2, 0.5, n=50), release(3, 0.5, n=50)], stood.rows)
    assert [p["outcome"] for p in found["points"]] == ["CHAMPION", "OTHER DATA", "OTHER DATA"] and found["looks"] == 0
    values, smooth = ([p[key] for p in found["points"]] for key in ("value", "ewma"))
    assert smooth[:2] == values[:2] and smooth[2] == pytest.approx(0.3 * values[2] + 0.7 * values[1])


def test_without_a_champion_nothing_is_tested_and_answers_to_another_schema_have_no_value():
    strange = Release("p9", "2026-01-09", "v", "SHIP", [PredictionRow("a", "g", "t", '{"other": 1}', '{"other": 1}')])
    found = trend(spec(), [release(1, 0.8), strange], None)
    assert [p["outcome"] for p in found["points"]] == ["NO CHAMPION", "NO CHAMPION"]
    assert found["points"][1]["value"] is None and "not valid" in found["points"][1]["reason"]
    assert trend_plot(found).startswith(b"\x89PNG")


def packed(p, variant, right, verdict="SHIP"):
    """A report and the package of it, of a variant that has this many of 200 items right."""
    rows = [PredictionRow(f"i{i:03}", f"g{i}", f"text {i}", RIGHT, RIGHT if i < right else WRONG) for i in range(200)]

    def report(out):
        write_systems(out / "predictions", [System(name=variant, kind="candidate", description="", rows=rows)])
        return {"verdict": verdict}

    made = p.store.produce(EVALUATIONS, f"alpha/{variant}", {"right": str(right)}, report)
    inputs = {"evaluation": made.digest}
    p.store.produce(PACKAGES, f"alpha/{variant}", inputs, lambda out: (out / "x").write_text(str(right)) and {"verdict": verdict})
    return p.regression("alpha", variant)


@pytest.fixture
def place(tmp_path):
    write_task(tmp_path / "tasks", "alpha")
    return Pipeline(Settings(home=tmp_path / "pp", tasks=tmp_path / "tasks", threads=1))


def test_a_test_against_the_champion_keeps_the_trend_of_its_variant(place):
    packed(place, "encoder-lora", 150)
    packed(place, "lora-r8", 120)
    made = packed(place, "encoder-lora", 140)
    over_time = json.loads(made.file("history.json").read_text())
    assert [(p["variant"], p["outcome"]) for p in over_time["points"]] == [("encoder-lora", "CHAMPION"), ("encoder-lora", "FAIL")]
    assert made.metadata["outcome"] == "FAIL" and made.file("trend.png").read_bytes().startswith(b"\x89PNG")
    assert place.regression("alpha", "encoder-lora").reused


def test_the_command_shows_all_packages_and_ends_with_1_on_an_alarm(place, tmp_path, capfd):
    pp = command_line(tmp_path, capfd)
    assert pp("history", "alpha").code == 2
    packed(place, "encoder-lora", 150)
    assert pp("history", "alpha").code == 0
    packed(place, "lora-r8", 90)
    said = pp("history", "alpha", "--plot", str(tmp_path / "trend.png"))
    assert said.code == 1 and "worse    lora-r8" in said.out and "CHAMPION" in said.out
    assert (tmp_path / "trend.png").read_bytes().startswith(b"\x89PNG")
    found = pp("history", "alpha", "--json")
    assert found.code == 1 and [p["variant"] for p in found.json["points"]] == ["encoder-lora", "lora-r8"]
    assert pp("history", "alpha", "-v", "encoder-lora").code == 0
    assert os.environ["PP_HOME"].startswith(str(tmp_path))


def test_the_table_fits_a_window_of_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    stood = release(1, 0.9, "encoder-lora", champion=True)
    names = {"package": "0123456789abcdef", "at": "2026-01-02T03:04:05+00:00"}
    others = [replace(release(2, 0.5, "encoder-frozen"), verdict="NOT ENOUGH DATA", **names), replace(stood, champion=False, **names)]
    _points(trend(spec(), [stood, *others], stood.rows))
    out = capsys.readouterr().out
    told, *rows = out.splitlines()
    assert "on 200 test items" in told and max(map(len, rows)) <= 80
    (row,) = (row for row in rows if "encoder-frozen" in row)
    assert row.startswith("2026-01-02") and "01234567 " in row and "NOT ENOUGH" in row and row.rstrip().endswith("FAIL")
    _points(trend(spec(), [stood, release(2, 0.5, "encoder-frozen", n=50)], stood.rows))
    out = capsys.readouterr().out
    assert "on 200 test items" not in out and " 50 " in out and "OTHER DATA" in out, "who answered other items has another n"

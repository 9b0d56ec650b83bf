"""The sensor of weights on a real instance: it decides, tells of a roll-back, and has the next step decided again."""

import json
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from served_rows import Served
from test_sensors_live import asked, tick

from pp_assets import names
from pp_assets.build import build_defs
from pp_assets.partitions import register
from pp_resources.dagster_resources import Installation
from pp_resources.store import ids
from pp_resources.store.read_work import decisions_on
from pp_sensors.weights import move_weights

ROUTING = {"metric": "right", "champion": "a", "weights": {"a": 1.0, "b": 1.0}, "horizon": 10.0, "cohort": 20}
ROUTING["guards"] = [{"metric": "invalid", "tolerance": 0.02}]


def test_a_roll_back_is_decided_told_and_followed_by_the_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PP_ALERT_WEBHOOK", raising=False)
    monkeypatch.setenv("PP_STATE", str(tmp_path / "state"))
    served = Served(tmp_path, **ROUTING)
    served.declare(ROUTING, {"good": 0.9, "poor": 0.2})
    installation = Installation(home=str(tmp_path / "pp"), tasks=str(tmp_path / "tasks"), threads=1, tracking=False)
    defs = build_defs(installation=installation)
    with dg.instance_for_test() as instance, ids.clock(lambda: round((served.clock + 30) * 1e9)):
        place = SimpleNamespace(instance=instance, defs=defs)
        register(instance, ["toy"], [])
        assert tick(place, move_weights).skip_message == "toy: static weights: no feedback has come yet"
        alerts = tmp_path / "pp" / "alerts.jsonl"
        for _ in range(8):
            served.serve(20, {"a": 0.5, "b": 0.9}, {"b": 0.9})
            data = tick(place, move_weights)
            served.weights = decisions_on(served.store, "toy", kind="weights", limit=1)[0]["data"]["weights"]
            if data.run_requests:
                break
            assert not alerts.exists()
        seq = decisions_on(served.store, "toy", kind="weights", limit=1)[0]["seq"]
        assert asked(data) == [("toy", f"next:toy:{seq}")] and served.weights == {"a": 1.0, "b": 0.0}
        (alert,) = map(json.loads, alerts.read_text().splitlines())
        assert alert["task"] == "toy" and alert["what"].startswith("b was rolled back: invalid")
        assert not tick(place, move_weights).run_requests

        wanted = [dg.AssetKey("next_step")]
        run = defs.resolve_job_def(names.JOB_MONITOR).execute_in_process(partition_key="toy", instance=instance, asset_selection=wanted)
        (made,) = run.asset_materializations_for_node("next_step")
        assert made.metadata["action"].value in ("keep", "tune") and made.metadata["quality_n"].value > 5
        (row,) = decisions_on(served.store, "toy", kind="next_step")
        assert row["data"]["action"] == made.metadata["action"].value

        served.store.close()
        assert served.store.file
        served.store.file.write_bytes(b"no database")
        assert "the gateway keeps the weights that it has" in tick(place, move_weights).skip_message

"""The contract as a stage: derived, scored by, made again when its file changes, and not when only its layout does."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_task import write_task

from pp_assets.contracts import contract_state
from pp_assets.pipeline import DATASETS, Pipeline
from pp_assets.task.contract.files import read_contract
from pp_assets.task.examples import read_split
from pp_resources.settings import Settings
from pp_sensors.task_folders import look


@pytest.fixture
def p(tmp_path: Path) -> Pipeline:
    write_task(tmp_path / "tasks", "alpha")
    made = Pipeline(Settings(tmp_path / "home", tmp_path / "tasks", 1))
    made.seeds("alpha")
    return made


def test_the_training_rows_are_scored_and_live_up_to_it(p: Pipeline) -> None:
    made = p.contract("alpha")
    rows = read_split(p.current(DATASETS, "alpha").path, "train")
    table = pq.read_table(made.file("scores.parquet"))
    assert table["item_id"].to_pylist() == [e.item_id for e in rows] and table["total"].null_count == 0
    assert made.metadata["mean"] == 1 and made.metadata["low_rows"] == 0 and made.metadata["broken"] == {}
    assert made.file("scores.png").stat().st_size > 5000
    kept = read_contract(made.file("contract.json"))
    assert kept.digest == made.metadata["contract"] and kept.output_schema == p.task("alpha").output_schema
    assert p.contract("alpha").reused


def test_a_contract_that_rows_break_says_so_and_by_which_node(p: Pipeline) -> None:
    file = p.settings.tasks / "alpha" / "contract.yaml"
    assert contract_state(p, p.task("alpha")) == ("", True) and p.contract("alpha").inputs["source"] == "derived"
    before = look(p)[0]["alpha"]
    file.write_text("questions:\n- {label: bills only, kind: enum, field: kind, values: [billing]}\n")
    after = look(p)[0]["alpha"]
    assert before.up_to_date and not after.up_to_date and before.digest != after.digest, "the sensor starts the data stages"
    made = p.contract("alpha")
    assert set(made.stale_because) == {"contract", "source"} and made.metadata["broken"] == {
        "questions/bills only": made.metadata["low_rows"]
    }
    assert made.metadata["low_rows"] > 0 and made.metadata["worst"][0]["score"] == 0
    assert look(p)[0]["alpha"].up_to_date
    file.write_text("# A comment.\n" + file.read_text())
    assert p.contract("alpha").reused

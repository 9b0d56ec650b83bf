"""The whole way of a background search on a real Dagster instance: feedback, the data, the search by its job, what is told of it."""

import json
import re
from typing import Any

import pytest
from small_task import SAID
from test_encoder_tokens import tiny_encoder
from test_sensors_live import demonstration, tick
from upstream_stub import stub

from pp_assets import names
from pp_assets.flywheel.stage import history, look
from pp_assets.partitions import register
from pp_assets.pipeline import DATASETS, PROMPTS, rows_digest
from pp_assets.prompts.applying import applied
from pp_assets.prompts.search.export import read_prompt
from pp_assets.task.examples import open_test_split
from pp_sensors.feedback import watch_feedback
from pp_sensors.flywheel import watch_flywheels

CALLS = 120
ON = """
flywheel:
  enabled: true
  prompts: {{target: house/m, least_new: 2, calls: {calls}}}
serving:
  variants: {{there: {{kind: remote, url: "{url}", model: m}}}}
encoder_model_id: {encoder}
"""
ORDER = re.compile(r"order ([ABC]-\d{4})")


def says(asked: dict[str, Any]) -> str:
    """Right where the prompt shows examples; else it takes everything for a bill."""
    *before, last = [str(message["content"]) for message in asked["messages"]]
    whole, text = "\n".join([*before, last]), last
    found = next(kind for kind, texts in SAID.items() for one in texts if one in text[-200:])
    order = ORDER.findall(text[-200:])
    shown = sum(one in whole for texts in SAID.values() for one in texts)
    return json.dumps({"kind": found if shown > 2 else "billing", "order": order[-1] if order else None})


@pytest.mark.slow
def test_feedback_becomes_one_search_whose_proven_prompt_is_told_of(place, tmp_path) -> None:
    with stub() as up:
        up.says = says
        place.settings.home.mkdir()
        (place.settings.home / "providers.yaml").write_text(f"providers:\n  house: {{url: '{up.url}', models: {{m: {{}}}}}}\n")
        place.add("alpha", more=ON.format(calls=CALLS, url=up.url, encoder=tiny_encoder(tmp_path / "encoder")))
        register(place.instance, ["alpha"], ["encoder-frozen"])
        p, cursor = place.pipeline, None

        def asked() -> list[str]:
            """The jobs that a tick asks for, each done as the daemon would."""
            nonlocal cursor
            data = tick(place, watch_flywheels, cursor)
            cursor = data.cursor
            for request in data.run_requests or []:
                job = place.defs.resolve_job_def(request.job_name)
                ran = job.execute_in_process(
                    partition_key=request.partition_key, run_config=request.run_config, instance=place.instance, tags=request.tags
                )
                assert ran.success
            return [request.job_name for request in data.run_requests or []]

        assert asked() == [names.JOB_FLYWHEEL] and not history(p.inbox.store, "alpha")
        said = look(p, "alpha")
        assert "no champion yet" in said.reason and said.numbers["prompts"]["reason"] == "0 new demonstrations, 2 start a search"

        own = "listen: my card was charged again, order C-2222, and in room 5 nobody knows why"
        held_out = next(row.input_text for row in open_test_split(p.seeds("alpha").path, p.ledger, "alpha", "a test"))
        for text in (own, held_out):
            demonstration(place, text)
        assert not tick(place, watch_feedback).run_requests, "the flywheel is who has the data made"
        ran = [job for _ in range(8) for job in asked() if job != names.JOB_FLYWHEEL]
        assert ran == [names.JOB_TASK_DATA, names.JOB_TUNE_PROMPT], "each once, and in this order"

        told = [one["reason"] for one in reversed(history(p.inbox.store, "alpha"))]
        dataset, [made] = p.current(DATASETS, "alpha"), p.store.versions(PROMPTS, "alpha/house-m")
        assert told[0] == "a prompt is to be searched: 2 new demonstrations (2 are enough)"
        assert told[1] == f"the search of a prompt starts on data set {dataset.digest[:8]}: halving for house/m, at most {CALLS} calls"
        command = "pp prompt apply alpha --target house/m --of there"
        assert len(told) == 3 and "(RELEASE)" in told[2] and f"'{command}'" in told[2] and "+" in told[2]
        assert made.metadata["calls"] <= CALLS and len(up.seen) <= made.metadata["calls"] + made.metadata["test_calls"]

        train = [row.input_text for row in p.training_rows("alpha").train]
        assert own in train and held_out not in train, "as for a training: rows that are held out stay so"
        assert made.inputs["dataset"] == dataset.digest and made.inputs["train"] == rows_digest(p.training_rows("alpha").train)
        assert command in look(p, "alpha").numbers["prompts"]["reason"], "told until it is in use"

        calls, prompt = len(up.seen), read_prompt(made.file("prompt.json"))
        demonstration(place, "hi team where is the driver of order A-1111 in room 5, it says nine and is ten")
        demonstration(place, "dear shop, the wrong size, please swap order B-3333, this was for my mother")
        assert [job for _ in range(4) for job in asked() if job != names.JOB_FLYWHEEL] == [] and len(up.seen) == calls
        assert "more hours after the last one: 2 new" in look(p, "alpha").numbers["prompts"]["reason"]
        applied(p.task("alpha"), prompt, "better", of="there", overwrite=False, settings=p.settings)
        assert command not in look(p, "alpha").numbers["prompts"]["reason"]

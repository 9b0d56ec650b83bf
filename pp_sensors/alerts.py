"""A failed run is told: a line in PP_HOME/alerts.jsonl, and a POST to PP_ALERT_WEBHOOK where that is set.

The line comes first, and a webhook that does not answer never hides it.
"""

import json
import os
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from pp_assets import names
from pp_resources.dagster_resources import Installation

WEBHOOK = "PP_ALERT_WEBHOOK"
TIMEOUT = 10  # seconds; a sensor tick has sixty
LONGEST = 2000  # characters of an error


def alert_of(run: dg.DagsterRun, error: str, steps: list[str]) -> dict[str, Any]:
    """What is worth telling about a failed run."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "run_id": run.run_id,
        "job": run.job_name,
        "partition": run.tags.get("dagster/partition"),
        "steps": steps,
        "error": error[:LONGEST],
    }


def raise_alert(home: Path, alert: dict[str, Any], webhook: str | None) -> str | None:
    """Write the line, then tell the webhook. Returns why the webhook did not take it, None when all is well."""
    file = home / "alerts.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(alert, ensure_ascii=False) + "\n")
        out.flush()
        os.fsync(out.fileno())
    if not webhook:
        return None
    if not webhook.startswith(("http://", "https://")):
        return f"{WEBHOOK} is no http address"
    request = urllib.request.Request(webhook, json.dumps(alert).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT):
            return None
    except (urllib.error.URLError, OSError) as error:
        return f"the webhook did not take it: {error}"


@dg.run_failure_sensor(
    name=names.SENSOR_ALERTS,
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells of failed runs.",
)
def alert_on_failure(context: dg.RunFailureSensorContext, installation: Installation) -> None:
    failed = context.get_step_failure_events()
    causes = [str(text) for e in failed if (text := getattr(e.event_specific_data, "error_display_string", None))]
    error = causes[0] if causes else context.failure_event.message or "the run failed"
    problem = raise_alert(
        installation.settings().home,
        alert_of(context.dagster_run, error, [e.step_key for e in failed if e.step_key]),
        os.environ.get(WEBHOOK),
    )
    if problem:
        context.log.warning(problem)


SENSORS = [alert_on_failure]

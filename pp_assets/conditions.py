"""When assets follow a change by themselves. Sensors start work (`pp_sensors`); these conditions carry it downstream.

Belongs here: named conditions and why each operand is there. Does not belong here: which asset uses which (see the `assets.py` files).
"""

import dagster as dg

_Condition = dg.AutomationCondition

refresh = (_Condition.eager() & _Condition.all_deps_blocking_checks_passed()).with_label("refresh")
"""Cheap layers of one task: follow every upstream update as soon as all upstreams are there. `eager` does not look at blocking checks."""

retrain_existing = (
    _Condition.any_deps_updated().since(_Condition.newly_requested() | _Condition.newly_updated() | _Condition.initial_evaluation())
    & ~_Condition.missing()
    & ~_Condition.any_deps_missing()
    & ~_Condition.any_deps_in_progress()
    & ~_Condition.in_progress()
    & _Condition.all_deps_blocking_checks_passed()
).with_label("retrain_existing")
"""Adapters: new data retrains the variants that were trained before, and no other.

`eager` would train every variant of the cross product once a variant or a task is added. The first training is always asked for (command
line, UI, backfill); from then on the partition is not missing and follows its data. `since` keeps the wish alive while an upstream is in
progress, and `initial_evaluation` resets it, so that starting the daemon on existing data trains nothing.
"""

follow_adapter = (_Condition.eager() & _Condition.all_deps_blocking_checks_passed()).with_label("follow_adapter")
"""Report and package: whatever adapter appears is evaluated and packaged; without one their dependency is missing and nothing runs."""

summarise = _Condition.eager().without(~_Condition.any_deps_missing()).with_label("summarise")
"""Fan-in over variants: `eager` waits for all of them, and one variant that is never trained would freeze the table for ever."""

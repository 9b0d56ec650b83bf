"""Whether new demonstrations, or alarms with fewer of them, are enough to start something: the same for trainings and for searches."""

from collections.abc import Sequence

from pp_assets.flywheel.policy import Trigger
from pp_assets.flywheel.state import Alarm


def due(new: int, alarms: Sequence[Alarm], trigger: Trigger) -> str | None:
    """Why one should start, None where it should not. Without new demonstrations there is nothing to learn from."""
    if "feedback" in trigger.start and new >= trigger.least_new:
        return f"{new} new demonstrations ({trigger.least_new} are enough)"
    heard = _heard(alarms, trigger)
    if heard and new >= trigger.after_alarm:
        return f"{'; '.join(heard)}; {new} new demonstrations ({trigger.after_alarm} are enough then)"
    return None


def waits_for(new: int, alarms: Sequence[Alarm], trigger: Trigger, what: str) -> str:
    """How many demonstrations there are, and how many would start `what`."""
    needed = min([trigger.least_new] * ("feedback" in trigger.start) + [trigger.after_alarm] * bool(_heard(alarms, trigger)), default=None)
    said = f"{new} new demonstrations" + (f", {needed} start {what}" if needed else f"; nothing asks for {what}")
    return said + "".join(f"; {alarm.reason}" for alarm in alarms)


def _heard(alarms: Sequence[Alarm], trigger: Trigger) -> list[str]:
    return [alarm.reason for alarm in alarms if alarm.cause in trigger.start]

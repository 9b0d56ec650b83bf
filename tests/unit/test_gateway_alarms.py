"""What is due is called, once, near its time; what is taken back is not; a block is ended from outside and by nobody else's doing."""

import asyncio
import time

import pytest
import uvloop

from pp_gateway.serve.alarms import LATE, Alarms, Interruptible


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_what_is_due_is_called_in_its_time_whatever_was_set_before_and_taken_back(run):
    async def turns() -> dict[str, float]:
        alarms, began, called = Alarms(), time.monotonic(), dict[str, float]()

        def note(name: str) -> None:
            assert name not in called
            called[name] = time.monotonic() - began

        for name, seconds in (
            ("late", 0.3),
            ("soon", 0.1),
            ("never", 0.1),
            ("past", -1.0),
            ("past too", 0.0),
            ("takes back", 0.15),
            ("taken", 0.15),
        ):
            alarms.set(name, seconds, lambda name=name: note(name))
        alarms.set("takes back", 0.15, lambda: (note("takes back"), alarms.drop("taken")))
        alarms.drop("never")
        await asyncio.sleep(0.2)
        alarms.set("again", 0.05, lambda: note("again"))
        await asyncio.sleep(0.4)
        return called

    called = run(turns())
    assert set(called) == {"past", "past too", "soon", "takes back", "again", "late"}
    for name, due in (("past", 0.0), ("past too", 0.0), ("soon", 0.1), ("takes back", 0.15), ("again", 0.25), ("late", 0.3)):
        assert due - 0.01 <= called[name] < due + LATE + 0.1, name


def test_a_block_is_ended_by_its_own_interrupt_and_passes_on_what_others_end():
    async def block(seconds: float) -> bool:
        one = Interruptible()
        asyncio.get_running_loop().call_later(seconds, one.interrupt)
        try:
            await asyncio.sleep(0.2)
        except asyncio.CancelledError as error:
            if not one.over(type(error)):
                raise
            return True
        return one.over(None)

    async def both() -> tuple[bool, bool]:
        ended, whole = await block(0.02), await block(5.0)
        task = asyncio.get_running_loop().create_task(block(0.02))
        await asyncio.sleep(0.01)
        asyncio.get_running_loop().call_later(0.01, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            task.cancel()
            await task
        return ended, whole

    assert asyncio.run(both()) == (True, False)

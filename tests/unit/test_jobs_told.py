"""What a running job tells: how far it is, how long it will take, what it has spent; and who starts it."""

import subprocess
import sys

import pytest

from pp_assets.flows.estimate import Estimate
from pp_gateway.jobs.launcher import TRIES, Launcher
from pp_gateway.jobs.records import add_job, describe, earlier_seconds, end, lock_of, new_job
from pp_gateway.jobs.report import Events
from pp_gateway.serve.config import Jobs
from pp_resources.progress import steps, watched_by
from pp_resources.settings import Settings
from pp_resources.spending import Meter, meter, metered
from pp_resources.store.opened import open_store
from pp_resources.store.read_work import job, job_events_after
from pp_resources.store.work import JobEvent


class Clock:
    def __init__(self):
        self.at = 100.0

    def __call__(self):
        return self.at


def test_the_time_that_is_left_falls_as_work_at_one_rate_goes_on():
    clock = Clock()
    found = Estimate(clock=clock)
    shares, left = [], []
    with watched_by(found.hear), steps("trials", 4) as trial:
        assert found.told()["eta_s"] is None, "nothing was done yet"
        for _ in range(4):
            for part in ("embedding", "epochs"):
                with steps(part, 5) as step:
                    for _ in range(5):
                        clock.at += 1.0
                        step("")
                        shares.append(found.share())
                        left.append(found.told()["eta_s"])
            trial("")
            told = found.told()
            if told["parts"]:
                assert told["share"] == pytest.approx((clock.at - 100) / 40) and told["eta_from"] == "the rate of trials"
                assert told["eta_s"] == pytest.approx(140 - clock.at), "at whole steps it is exact"
    assert shares == sorted(shares) and all(0 < share <= 1 for share in shares)
    assert found.told() == {"parts": [], "share": None, "eta_s": None, "eta_from": None}


def test_work_that_goes_on_from_before_is_not_counted_as_fast():
    clock = Clock()
    found = Estimate(clock=clock)
    with watched_by(found.hear), steps("trials", 10, done=5) as advance:
        clock.at += 2.0
        advance("")
        assert found.told()["share"] == 0.6 and found.told()["eta_s"] == pytest.approx(8.0)


def test_work_that_ends_early_is_over():
    found = Estimate(clock=Clock())
    with watched_by(found.hear):
        with steps("epochs", 10) as advance:
            advance("")
        with steps("next", 2):
            assert [part["title"] for part in found.parts] == ["next"]
        with pytest.raises(ValueError, match="broken"), steps("more", 3):
            raise ValueError("broken")
    assert found.parts == []


def test_before_anything_is_counted_earlier_jobs_tell():
    clock = Clock()
    found = Estimate([10.0, 30.0, 20.0], clock)
    clock.at += 5
    assert (found.told()["eta_s"], found.told()["eta_from"]) == (15.0, "the median of 3 earlier jobs")
    clock.at += 50
    assert found.told()["eta_s"] == 0.0


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path)


def written(store, kind="tune", **payload):
    return add_job(store, *new_job(kind, payload, "app", None)).id


def test_events_keep_their_order_and_tell_what_was_spent(store):
    id = written(store, task="t")
    with metered() as spent:
        found = Events(store, id, spent, prices=(0.5, 2.0), clean=lambda text: text.replace("/secret", "PP_HOME"))
        found.write("state", {}, "running")
        for n in range(450):
            found.row({"n": n})
        assert meter() is spent
        spent.add(1000, 200)
        found.message("written to /secret/file")
        found.write("result", {"rows": 450})
    events = job_events_after(store, id, limit=1000)
    assert [one["n"] for one in events] == list(range(1, len(events) + 1))
    kinds = [one["kind"] for one in events]
    assert kinds[:3] == ["asked", "state", "data"] and kinds.index("result") > kinds.index("message") > 450
    assert [one["data"]["n"] for one in events if one["kind"] == "data"] == list(range(450))
    told = describe(store, [job(store, id)])[0]
    assert told["spend"] == {"requests": 1, "tokens_in": 1000, "tokens_out": 200, "cost": 0.0009} and told["result"] == {"rows": 450}
    assert [one["data"]["text"] for one in events if one["kind"] == "message"] == ["written to PP_HOME/file"]
    assert meter() is None and Events(store, id, Meter()).spend()["cost"] is None, "without a price there is none"


def test_a_provider_that_is_opened_within_is_metered(tmp_path, monkeypatch):
    from upstream_stub import stub

    from pp_resources.models.remote import Provider, each

    with stub() as upstream:
        with metered() as spent:
            provider = Provider(upstream.url, "m", cache=tmp_path / "answers.sqlite")
        for _ in range(2):  # the second time they were kept
            list(each(lambda n: provider.ask([{"role": "user", "content": str(n)}]), [1, 2, 3]))
    assert (spent.requests, spent.tokens_in, spent.tokens_out) == (3, 30, 15)


def test_progress_is_shown_while_a_job_is_open(store):
    id = written(store, task="t")
    store.write(JobEvent(job=id, kind="progress", data={"parts": [], "share": 0.5, "eta_s": 1000.0, "eta_from": "x"}, state="running"))
    told = describe(store, [job(store, id)])[0]
    assert told["progress"]["share"] == 0.5 and 900 < told["eta_s"] <= 1000 and told["caller"] == "app"
    with lock_of(store.file.parent, id):
        end(store, store.file.parent, id, "done", {"seconds": 7.5})
    ended = describe(store, [job(store, id)])[0]
    assert ended["progress"] is None and ended["eta_s"] is None and ended["last_event"] == 3
    other = written(store, task="t")
    assert earlier_seconds(store, job(store, other)) == [7.5]
    assert earlier_seconds(store, job(store, written(store, task="u"))) == []


def test_a_job_whose_processes_end_before_they_begin_fails(store, tmp_path, monkeypatch):
    class Broken(subprocess.Popen):
        def __init__(self, command, **options):
            assert command[1:3] == ["-m", "pp_gateway.jobs.worker"] and options["start_new_session"]
            super().__init__([sys.executable, "-c", "import sys; sys.exit('broken')"], **options)

    monkeypatch.setattr("pp_gateway.jobs.launcher.subprocess.Popen", Broken)
    home = store.file.parent.parent
    ids = [written(store, task="t") for _ in range(2)]
    launcher = Launcher(Settings(home, home, 1), store, lambda: Jobs(running=1))
    other = Launcher(Settings(home, home, 1), store, lambda: Jobs(running=1))
    for n in range(TRIES):
        launcher._look()
        other._look()
        assert set(launcher._processes) == {ids[0]} and not other._processes, f"look {n}: one at a time, from one gateway"
        launcher._processes[ids[0]].wait()
    launcher._look()
    assert job(store, ids[0])["state"] == "failed" and job(store, ids[1])["state"] == "queued"
    launcher._look()
    assert set(launcher._processes) == {ids[1]}
    launcher._processes[ids[1]].wait()
    assert "broken" in (home / "logs" / "jobs" / f"{ids[0]}.log").read_text()

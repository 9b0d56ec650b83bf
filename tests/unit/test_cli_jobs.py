"""`pp jobs`, with no gateway running."""

import pytest
from command_line import command_line
from job_place import job_place, store_of

from pp_gateway.jobs.records import add_job, end, lock_of, new_job
from pp_resources.store.work import JobEvent


@pytest.fixture
def pp(tmp_path, capfd, monkeypatch):
    where = job_place(tmp_path)
    call = command_line(tmp_path, capfd)
    monkeypatch.setenv("PP_HOME", str(where.settings.home))
    call.store, call.home = store_of(where), where.settings.home
    return call


def test_jobs_are_listed_shown_followed_and_ended(pp):
    assert pp("jobs", "list").out == "no jobs\n" and pp("jobs", "list", "--json").json == []
    asked = [{"task": "toy", "variant": "encoder-lora", "trials": n} for n in (3, 4)]
    done, other = (add_job(pp.store, *new_job("tune", request, "", None)).id for request in asked)
    progress = {
        "parts": [{"title": "trials", "done": 1, "total": 4, "detail": ""}],
        "share": 0.25,
        "eta_s": 300.0,
        "eta_from": "the rate of trials",
    }
    pp.store.write(JobEvent(job=done, kind="state", data={}, state="running"))
    pp.store.write(JobEvent(job=done, kind="progress", data=progress))
    said = pp("jobs", "list").out
    assert done in said and "25%" in said and "5 min" in said and "queued" in said
    assert "trials: 1 of 4" in pp("jobs", "show", done).out and pp("jobs", "show", done, "--json").json["request"]["trials"] == 3
    pp.store.write_many([JobEvent(job=done, kind="data", data={"number": n}) for n in range(2)])
    pp.store.write(JobEvent(job=done, kind="error", data={"what": "went wrong", "where": "here", "how": "mend it"}))
    with lock_of(pp.home, done):
        end(pp.store, pp.home, done, "failed", {"seconds": 1.0})
    followed = pp("jobs", "follow", done)
    assert followed.code == 1 and "trials 1 of 4, 5 min left" in followed.out and "went wrong" in followed.out
    assert [one["seq"] for one in pp("jobs", "follow", done, "--after", "3", "--json").lines] == [6, 7]
    assert [one["number"] for one in pp("jobs", "follow", done, "--data").lines] == [0, 1]
    assert pp("jobs", "cancel", other[-12:], "--json").json == {"id": other, "state": "cancelled"}
    assert pp("jobs", "cancel", done).out.endswith(": failed\n"), "it had ended"
    assert pp("jobs", "follow", other).code == 0
    assert [one["id"] for one in pp("jobs", "list", "--state", "cancelled", "--json").json] == [other]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "none"], "no job 'none'"),
        (["list", "--state", "runing"], "did you mean 'running'"),
        (["list", "--kind", "tone"], "did you mean 'tune'"),
    ],
)
def test_what_is_at_fault_is_told_in_one_line(pp, words, said):
    found = pp("jobs", *words)
    assert found.code == 2 and said in found.err and found.err.count("\n") == 1

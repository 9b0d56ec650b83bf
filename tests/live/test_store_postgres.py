"""The store on a real PostgreSQL: the same tests as on SQLite, and a server that is stopped and started."""

import inspect
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import test_dashboard as dashboard
import test_store as writing
import test_store_forgetting as forgetting
import test_store_reading as reading
from hypothesis import HealthCheck, given, settings
from served_rows import BEGIN, Served
from sqlalchemy import create_engine
from store_rows import inference, kept_scores, naive_scores, requests
from test_store_recorder import eventually, stored

from pp_assets.serving.desk import Desk, Missing
from pp_resources.store.buckets import DAY, WIDTHS
from pp_resources.store.decide_once import write_after
from pp_resources.store.engine import StoreUnavailable, address
from pp_resources.store.opened import Store
from pp_resources.store.overview import overview
from pp_resources.store.read_use import handed_over, latest_costs
from pp_resources.store.read_work import decisions_on
from pp_resources.store.rebuild import rebuild
from pp_resources.store.recorder import Recorder
from pp_resources.store.rows import Feedback
from pp_resources.store.schema import metadata
from pp_resources.store.work import Decision, QueueItem

pytest.importorskip("psycopg")
pytestmark = pytest.mark.live
SAME = [
    dashboard.test_decisions_are_spread_over_time_with_the_first_and_the_last,
    dashboard.test_every_figure_is_that_of_the_rows_counted_by_hand,
    dashboard.test_what_was_rolled_back_is_told_once_and_a_step_that_was_never_taken_is_none,
    writing.test_a_store_of_the_second_version_gets_the_indexes_that_it_lacks,
    writing.test_a_correction_takes_the_place_of_what_was_said,
    writing.test_a_recount_mends_what_is_wrong_and_says_so,
    writing.test_a_row_that_comes_again_gets_the_first_answer,
    writing.test_a_step_that_fails_leaves_the_store_as_it_was,
    writing.test_an_older_store_is_raised_step_by_step_and_a_newer_one_is_refused,
    writing.test_events_are_numbered_within_their_job,
    writing.test_feedback_may_come_before_what_it_is_about,
    writing.test_in_one_transaction_the_same_holds_and_each_row_hears_its_own,
    writing.test_many_threads_share_transactions_and_none_is_lost,
    writing.test_text_that_is_no_unicode_is_refused_alone,
    writing.test_the_first_answer_of_a_person_stands,
    writing.test_what_is_said_of_an_episode_is_said_of_each_variant_that_answered_in_it,
    forgetting.test_a_correction_that_is_younger_keeps_what_it_corrects,
    forgetting.test_each_day_is_one_file_with_all_its_rows,
    forgetting.test_old_weights_go_but_for_those_in_force_and_what_people_decided_stays,
    forgetting.test_retention_of_all_takes_feedback_whose_target_never_came,
    forgetting.test_retention_takes_what_is_old_and_leaves_the_sums,
    forgetting.test_rows_of_an_erased_person_do_not_come_back_from_a_journal,
    reading.test_an_inference_comes_back_as_it_was_written,
    reading.test_episodes_of_the_last_minutes_are_active,
    reading.test_examples_can_go_back_in_time,
    reading.test_feedback_is_followed_by_number_with_what_it_is_about,
    reading.test_jobs_queue_and_decisions_are_read_back,
    reading.test_pages_are_all_rows_once_also_where_times_are_equal,
    reading.test_the_first_end_stands_and_the_newest_of_each_kind_is_found,
    reading.test_the_sums_of_a_range_are_those_of_its_rows,
    reading.test_unpriced_is_not_free_and_untimed_is_not_fast,
]


class Server:
    """A PostgreSQL of the tests' own, on loopback. It runs as the user that the system has for it where the tests run as root."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self.programs = folder, programs
        self.user = "postgres" if os.geteuid() == 0 else None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._call("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "postgres")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        self._call("pg_ctl", "-D", str(self.folder / "data"), "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self, how: str = "fast") -> None:
        self._call("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", how, "stop")

    def pause(self, signal_: signal.Signals) -> None:
        """SIGSTOP freezes every process of the server: connections stand, nobody answers."""
        first = int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        children = subprocess.run(["pgrep", "-P", str(first)], capture_output=True, text=True, check=False).stdout.split()
        for process in (first, *map(int, children)):
            os.kill(process, signal_)

    def database(self) -> str:
        """Its only database, empty."""
        url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        engine = create_engine(address(Path(), url))
        metadata.drop_all(engine)
        engine.dispose()
        return url

    def _call(self, program: str, *words: str) -> None:
        subprocess.run([str(self.programs / program), *words], user=self.user, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    places = [Path(found).parent for found in [shutil.which("initdb")] if found] + sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not places:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="pp-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    made = Server(folder, places[-1])
    made.start()
    yield made
    made.stop("immediate")
    shutil.rmtree(folder)


@pytest.fixture
def store(server: Server) -> Iterator[Store]:
    made = Store(address(Path(), server.database()), patience=5)
    yield made
    made.close()


@pytest.mark.parametrize("same", SAME, ids=lambda test: test.__name__)
def test_as_on_sqlite(same: Callable[..., None], store: Store, tmp_path: Path) -> None:
    given = {"store": store, "tmp_path": tmp_path}
    same(**{name: given[name] for name in inspect.signature(same).parameters})


def test_weights_are_decided_and_facts_are_counted_as_on_sqlite(store: Store, tmp_path: Path) -> None:
    policy = {"metric": "right", "champion": "a", "weights": {"a": 1.0, "b": 1.0}, "horizon": 60.0, "cohort": 20}
    policy["guards"] = [{"metric": "invalid", "tolerance": 0.1}]
    told = []
    for name, place in (("here", store), ("there", None)):
        served, decided = Served(tmp_path / name, place, **policy), []
        for _ in range(8):
            rows = served.serve(20, {"a": 0.5, "b": 0.9}, {"a": 0.05, "b": 0.05})
            served.say(rows[0], 1.0, after=3.0)
            served.say(rows[1], 0.0, after=4.0, episode=rows[1].episode)
            decided.append(served.move().data)
            assert not served.move().changed
        served.store.write(QueueItem(inference=rows[0].id, task="toy", reason="unsure"))
        served.answer(variant="a", cost=0.5)
        since = round(BEGIN * 1e6)
        used = [(latest_costs(served.store, "toy", v, since), handed_over(served.store, "toy", v, since)) for v in "ab"]
        told.append((decided, used, len(decisions_on(served.store, "toy", kind="weights"))))
        assert write_after(served.store, Decision(task="toy", kind="weights", data={}), 0) is None, "others came before"
    assert told[0] == told[1] and told[0][0][-1]["basis"] == "evidence"


def test_an_id_that_it_cannot_hold_is_that_of_no_item(store: Store) -> None:
    with pytest.raises(Missing):
        Desk(store).look("i1\0")


def test_what_is_in_it_is_told(store: Store, tmp_path: Path) -> None:
    store.write(inference(1))
    found = overview(store, tmp_path)
    assert found["address"].startswith("postgresql+psycopg://postgres@127.0.0.1") and found["inferences"] == 1 and found["bytes"] > 0


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(writing.histories())
def test_neither_order_nor_repetition_change_a_sum(server: Server, history) -> None:
    rows, again, cuts = history
    store, left = Store(address(Path(), server.database())), list(again)
    for size in [*cuts, len(left) or 1]:
        part, left = left[:size], left[size:]
        assert not any(isinstance(result, Exception) for result in store.write_many(part))
    assert all(kept_scores(store, width) == naive_scores(rows) for width in WIDTHS) and rebuild(store)["differed"] == 0
    store.close()


def test_writers_at_once_judge_a_slot_one_after_the_other(server: Server) -> None:
    """Several stores stand for several processes: each has connections of its own, and each opens the database first."""
    url = address(Path(), server.database())
    stores = [Store(url) for _ in range(4)]
    rows = [Feedback(kind="boolean", metric="m", inference="i1", value=n % 2) for n in range(40)]
    with ThreadPoolExecutor(4) as pool:
        seqs = list(pool.map(lambda n: stores[n % 4].write(rows[n]).seq, range(40)))
    stores[0].write(inference(1))
    assert sorted(seqs) == list(range(1, 41)) and kept_scores(stores[1], DAY) == naive_scores([*rows, inference(1)])
    assert rebuild(stores[0])["differed"] == 0
    for store in stores:
        store.close()


def test_a_server_that_stops_costs_no_row(store: Store, server: Server, tmp_path: Path) -> None:
    rec = Recorder(store, tmp_path, retry=0.1, patience=1)
    assert not rec.write(inference(0)).journaled
    server.stop()
    try:
        assert rec.write(inference(1)).created and eventually(lambda: not rec.status()["store"])
        assert rec.write(inference(2)).journaled
        with pytest.raises(StoreUnavailable, match="PP_STORE_URL"):
            store.write(inference(9))
    finally:
        server.start()
    assert eventually(lambda: rec.status()["store"]) and stored(store) == {"i0", "i1", "i2"} and requests(store, DAY) == 3
    assert not rec.write(inference(3)).journaled
    rec.close()


def test_a_server_that_hangs_holds_nobody_up(store: Store, server: Server, tmp_path: Path) -> None:
    rec = Recorder(store, tmp_path, retry=0.1, patience=0.5)
    rec.write(inference(0))
    server.pause(signal.SIGSTOP)
    try:
        assert rec.write(inference(1)).created, "acknowledged by the journal, whoever else hangs"
        assert eventually(lambda: "no answer in 0.5 s" in str(rec.status()["why"]))
        assert rec.write(inference(2)).journaled
    finally:
        server.pause(signal.SIGCONT)
    assert eventually(lambda: rec.status()["store"]) and stored(store) == {"i0", "i1", "i2"} and requests(store, DAY) == 3
    rec.close()


def test_a_crash_of_the_server_loses_nothing_that_was_acknowledged(store: Store, server: Server, tmp_path: Path) -> None:
    rec = Recorder(store, tmp_path, retry=0.1, patience=1)
    futures = [rec.submit(inference(n)) for n in range(300)]
    futures[0].result(30)
    server.stop("immediate")
    server.start()
    assert all(future.result(30) for future in futures)
    assert eventually(lambda: rec.status()["store"]) and len(stored(store)) == 300 == requests(store, DAY)
    rec.close()

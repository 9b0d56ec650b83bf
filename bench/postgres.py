"""A PostgreSQL of a bench's own on loopback, as a peer's store; synced at each commit as the server is by default."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from bench.gateway_parts import free_port

TAG = "2026.4.1"  # the last one whose migrations are public
CRATES = {
    "tensorzero_auth__sqlx_migrations": "crates/tensorzero-auth/src/postgres/migrations/",
    "_sqlx_migrations": "crates/tensorzero-core/src/db/postgres/migrations/",
    "tensorzero_stored_config__sqlx_migrations": "crates/tensorzero-stored-config/src/postgres/migrations/",
}
# Of another repository; it runs evaluations, which no inference touches.
NO_QUEUES = "CREATE SCHEMA durable; CREATE FUNCTION durable.create_queue(text) RETURNS void LANGUAGE sql AS 'SELECT'"
CRON = "crates/tensorzero-core/src/db/postgres/pgcron_setup.sql"
SEARCHED = ("chat_inference_data", "json_inference_data", "chat_datapoints", "json_datapoints")


class Postgres:
    """A server in a temporary folder. It runs as the user that the system has for it where this runs as root."""

    def __init__(self) -> None:
        found = shutil.which("initdb") or next(map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))), None)
        if found is None:
            raise FileNotFoundError("PostgreSQL is not installed")
        self._programs, self._user = Path(found).parent, "postgres" if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="pp-pg-"))
        if self._user:
            shutil.chown(self.folder, self._user)
        self.port = free_port()
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/tensorzero"
        self._call("initdb", "-D", str(self.folder / "data"), "-A", "trust", "-U", "postgres")

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c max_connections=200"
        options += " -c shared_preload_libraries=pg_cron -c cron.database_name=tensorzero"
        try:
            self._call("pg_ctl", "-D", str(self.folder / "data"), "-w", "-l", str(self.folder / "log"), "-o", options, "start")
        except subprocess.CalledProcessError as error:  # pg_cron is a package of its own (Debian: postgresql-15-cron)
            raise SystemExit((self.folder / "log").read_text()[-1000:]) from error
        self.pid = int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])

    def stop(self, how: str = "fast") -> None:
        self._call("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", how, "stop")

    def close(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def sql(self, text: str, database: str = "tensorzero") -> str:
        """Run statements; what they print."""
        words = ["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", database, "-qAtX", "-v", "ON_ERROR_STOP=1"]
        done = subprocess.run(words, input=text, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    def _call(self, program: str, *words: str) -> None:
        subprocess.run([str(self._programs / program), *words], user=self._user, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)


def for_tensorzero(source: Path) -> Postgres:
    """A server with the tables of TensorZero, started. `source` is a clone of its repository (or the .git of one): the package cannot make
    them by itself."""
    made = Postgres()
    made.start()
    try:
        _make_tables(made, source)
    except BaseException:
        made.close()
        raise
    return made


def _make_tables(made: Postgres, source: Path) -> None:
    made.sql("CREATE DATABASE tensorzero", "postgres")
    made.sql(NO_QUEUES)
    for table, folder in CRATES.items():
        made.sql(f"CREATE TABLE {table} (version BIGINT PRIMARY KEY, success BOOLEAN NOT NULL)")
        names = _git(source, "ls-tree", "--name-only", TAG, folder).split()
        for name in sorted(one for one in names if one.endswith(".sql")):
            made.sql(_git(source, "show", f"{TAG}:{name}"))
            version = re.match(r"\d+", Path(name).name)
            assert version is not None
            made.sql(f"INSERT INTO {table} VALUES ({version[0]}, true)")
    made.sql(_git(source, "show", f"{TAG}:{CRON}"))
    made.sql("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    for table in SEARCHED:
        for column in ("input", "output"):
            name = f"idx_{table}_{column}_trgm"
            made.sql(f"CREATE INDEX {name} ON tensorzero.{table} USING gin (({column}::text) gin_trgm_ops)")


def _git(source: Path, *words: Any) -> str:
    return subprocess.run(["git", "-C", str(source), *words], capture_output=True, text=True, check=True).stdout

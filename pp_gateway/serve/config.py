"""The gateway's own file, `gateway.yaml` under the home folder: models that are no tasks, keys, limits, how rows are kept."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from pp_assets.serving.spec import Redact, Remote, Seconds, Slug, Strict
from pp_assets.task.spec_file import read_mapping, user_error
from pp_resources.models.bases import MINILM

FILE = "gateway.yaml"
Rate = Annotated[float, Field(gt=0, description="requests a second; by worker an equal part of it")]


class Key(Strict):
    """One caller: the SHA-256 of the key, which itself is written nowhere."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    per_second: Rate | None = None
    burst: int | None = Field(default=None, ge=1, description="requests at once, after a pause; default: those of two seconds")


class Batch(Strict):
    """How texts for one model are gathered."""

    most: int = Field(default=32, ge=1, le=1024)
    wait_ms: float = Field(default=2.0, ge=0, le=1000)
    depth: int = Field(default=256, ge=1, description="texts that may wait; more are refused with 503")


class Jobs(Strict):
    """Work that takes longer than somebody waits."""

    running: int = Field(default=1, ge=0, le=64, description="at once on this machine; 0: they wait for another gateway")
    waiting: int = Field(default=20, ge=0, description="of one caller, those that run among them; more are refused with 429")
    followers: int = Field(default=100, ge=0, description="event streams of a worker; more are refused with 503")
    price_in: float | None = Field(default=None, ge=0, description="US dollars a million tokens that the provider reads")
    price_out: float | None = Field(default=None, ge=0, description="and writes; spend has a cost where both are given")


class GatewayConfig(Strict):
    version: Literal[1] = 1
    tasks: list[Slug] | None = Field(default=None, description="default: all that are not archived")
    models: dict[Slug, Remote] = Field(default={}, description="remote models under names of their own, for chat without a task")
    keys: dict[Slug, Key] = Field(default={}, description="who may ask; without any only this machine may")
    per_second: Rate | None = Field(default=None, description="of each key without a rate of its own, and of all callers without a key")
    burst: int | None = Field(default=None, ge=1)
    max_bytes: int = Field(default=1 << 20, ge=1024, le=64 << 20, description="of a request")
    in_flight: int = Field(default=1000, ge=1, description="requests that a worker answers at once; more are refused with 503")
    logging: Literal["durable", "async", "off"] = Field(
        default="durable", description="durable: an answer is given when its row is on disk; async: beside it; off: no rows"
    )
    redact: Redact = Field(default=Redact(), description="in the rows of all tasks and models")
    batch: Batch = Batch()
    jobs: Jobs = Jobs()
    embedder: str = Field(default=MINILM, min_length=1)
    reload_seconds: float = Field(default=1.0, ge=0, le=3600, description="how often files are looked at; 0: only when asked to")
    weights_seconds: Seconds = Field(default=5.0, description="how often the store is asked for new weights")


def read_config(file: Path | None) -> GatewayConfig:
    """The file, or the defaults where there is none. Raises UserError naming file and field."""
    if file is None:
        return GatewayConfig()
    try:
        return GatewayConfig.model_validate(read_mapping(file))
    except ValidationError as error:
        raise user_error(error, GatewayConfig, str(file)) from error

"""All that is served in one configuration: made whole, swapped whole, let go of when the last request that began in it has ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pp_gateway.serve.config import GatewayConfig
from pp_gateway.serve.engine import Batcher
from pp_gateway.serve.function import Function
from pp_gateway.serve.logbook import Redactor
from pp_gateway.serve.upstream import Upstream


@dataclass
class Generation:
    """All that is served in one configuration. `used` counts requests that began in it; `skipped` tells what is not served, and why."""

    config: GatewayConfig
    functions: Mapping[str, Function]
    models: Mapping[str, Upstream]
    skipped: list[str]
    digest: str
    model_keys: set[str]
    batchers: list[Batcher] = field(default_factory=list)
    redactor: Redactor = field(default_factory=lambda: Redactor([]))
    used: int = 0

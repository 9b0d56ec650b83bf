"""What a worker counts is there for the one who reads, and for other workers without anybody reading here."""

import asyncio

import pytest
from prometheus_client import generate_latest

from pp_gateway.serve import metrics
from pp_gateway.serve.metrics import Metrics


def counted(page: bytes) -> list[str]:
    return sorted(line for line in page.decode().splitlines() if "_created" not in line and line.startswith(("pp_requests", "pp_tokens")))


def test_counts_are_there_when_they_are_read_and_shared_without_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "SHARED", 0.01)
    made = Metrics()
    for _ in range(2):
        made.request("/inference", 200)
    made.spent("toy", "a", 7, None, None)
    expected = ['pp_requests_total{path="/inference",status="200"} 2.0', 'pp_tokens_total{direction="in",task="toy",variant="a"} 7.0']
    assert counted(made.page()) == counted(made.page()) == expected, "once and not twice"

    async def shared() -> list[str]:
        sharing = asyncio.create_task(made.share())
        made.request("/inference", 200)
        assert counted(generate_latest(made.registry)) == expected
        await asyncio.sleep(0.1)
        sharing.cancel()
        return counted(generate_latest(made.registry))

    assert asyncio.run(shared())[0].endswith("3.0")

"""Servers of benches and tests: what cannot start says why, and nobody waits for it."""

from pathlib import Path

import pytest
from gateway_place import Place, running

from bench.serving import serving
from pp_resources.errors import UserError


def test_a_gateway_that_cannot_start_says_why(tmp_path: Path) -> None:
    where = Place(tmp_path)
    where.write(gateway={"models": 7})
    with pytest.raises(UserError, match=r"gateway\.yaml"), running(where):
        pass


def test_an_application_that_cannot_start_and_keeps_no_reason_is_told_too() -> None:
    async def refuses(scope, receive, send) -> None:
        await send({"type": "lifespan.startup.failed", "message": "no"})

    with pytest.raises(RuntimeError, match="did not start"), serving(refuses):
        pass

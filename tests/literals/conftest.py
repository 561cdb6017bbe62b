from __future__ import annotations

import pytest

from tests.literals.protocols import FLYTE_1, FLYTE_2, Protocol


@pytest.fixture(params=[FLYTE_1, FLYTE_2], ids=lambda each: each.name, scope="session")
def protocol(request: pytest.FixtureRequest) -> Protocol:
    """Every fact about literals holds in both protocols."""
    chosen: Protocol = request.param
    return chosen

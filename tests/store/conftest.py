"""A zoo to read, to damage and to grow further."""

import pytest

from neural_graphs.zoo import Zoo
from tests.store.small_zoos import write_zoo


@pytest.fixture
def zoo(tmp_path):
    return Zoo(write_zoo(tmp_path / "zoo"))

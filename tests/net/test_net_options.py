"""Options of the network: what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from rtcstack.errors import InvalidParameter
from rtcstack.net import Options


@pytest.mark.parametrize(
    "wrong",
    [
        {"port_range": (0, 10)},
        {"port_range": (10, 9)},
        {"port_range": (65000, 65536)},
        {"max_addresses": 0},
        {"buffer_size": 1000},
    ],
)
def test_a_number_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameter):
        Options(**wrong)


def test_a_range_of_one_port_is_a_range() -> None:
    assert Options(port_range=(5000, 5000)).port_range == (5000, 5000)

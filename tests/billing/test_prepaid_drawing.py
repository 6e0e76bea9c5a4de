"""Golden tables: which usage prepaid credits pay for, and from which grants."""

from datetime import UTC, datetime

import pytest

from shared.billing.models import PrepaidGrant, Price
from shared.billing.prepaid import drawing
from shared.billing.prepaid.drawing import UsageSplit

MAY, JUNE, JULY, AUGUST = (datetime(2027, month, 1, tzinfo=UTC) for month in (5, 6, 7, 8))
# Per unit: 100 included, then 10 cents, from 1,000 on 6 cents.
TIERED = Price(
    id="prc_tiered",
    plan_version_id="plv_1",
    period="month",
    kind="metered",
    currency="usd",
    tiers=[
        {"up_to": 100, "unit": 0, "flat": 0},
        {"up_to": 1_000, "unit": 10, "flat": 0},
        {"up_to": None, "unit": 6, "flat": 0},
    ],
    tiers_mode="graduated",
    meter="api_calls",
    created_by="test",
    reason="test",
)
PLAIN = TIERED.model_copy(update={"id": "prc_plain", "tiers": [], "tiers_mode": "", "amount": 10})


def grant(name: str, remaining: int, **fields: object) -> PrepaidGrant:
    values = {
        "tenant_id": "ten_x",
        "source": "operator",
        "amount": 100_000,
        "currency": "usd",
        "priority": 50,
        "created_at": MAY,
    }
    return PrepaidGrant(**{**values, "id": name, "remaining": remaining, **fields})


def list_draws(split: UsageSplit) -> list[tuple[str, int, int]]:
    return [(draw.grant_id, draw.amount, draw.units) for draw in split.draws]


ORDER = [
    pytest.param(
        [grant("late", 500, expires_at=AUGUST), grant("soon", 500, expires_at=JULY)],
        [("soon", 500, 50), ("late", 100, 10)],
        id="the one that expires first",
    ),
    pytest.param(
        [grant("forever", 500), grant("ends", 500, expires_at=AUGUST)],
        [("ends", 500, 50), ("forever", 100, 10)],
        id="one that expires before one that doesn't",
    ),
    pytest.param(
        [grant("soon", 500, expires_at=JULY), grant("first", 500, priority=10)],
        [("first", 500, 50), ("soon", 100, 10)],
        id="priority before expiry",
    ),
    pytest.param(
        [grant("younger", 500, created_at=JUNE), grant("older", 500, created_at=MAY)],
        [("older", 500, 50), ("younger", 100, 10)],
        id="the older one",
    ),
    pytest.param(
        [grant("b", 500), grant("a", 500)],
        [("a", 500, 50), ("b", 100, 10)],
        id="the id where all else is equal",
    ),
    pytest.param(
        [grant("expired", 500, expires_at=JUNE), grant("good", 1_000)],
        [("good", 600, 60)],
        id="not one that expired before the usage",
    ),
    pytest.param([grant("used", 0), grant("good", 1_000)], [("good", 600, 60)], id="not one that is used up"),
    pytest.param(
        [grant("euro", 900, currency="eur"), grant("good", 1_000)],
        [("good", 600, 60)],
        id="not one in another currency",
    ),
]


@pytest.mark.parametrize(("grants", "draws"), ORDER)
def test_usage_is_drawn_in_order(grants: list[PrepaidGrant], draws: list[tuple[str, int, int]]) -> None:
    """60 units at 10 cents, used in June."""
    split = drawing.split_usage(60, PLAIN, 0, grants, JUNE)
    assert (list_draws(split), split.billed, split.drawn) == (draws, 0, 60)


SPLITS = [
    # quantity, position, what is left of the grants; billed units, amounts
    pytest.param(60, 0, [10_000], (60, []), id="included units cost nothing"),
    pytest.param(160, 0, [10_000], (100, [600]), id="included units first, then credits"),
    pytest.param(50, 100, [10_000], (0, [500]), id="all of it"),
    pytest.param(50, 100, [], (50, []), id="no credits"),
    pytest.param(50, 100, [200], (30, [200]), id="partly used"),
    pytest.param(50, 100, [205], (30, [200]), id="less than a unit is left"),
    pytest.param(50, 100, [9], (50, []), id="never enough for a unit"),
    pytest.param(50, 100, [207, 13], (28, [207, 13]), id="two grants pay for one unit"),
    pytest.param(50, 5_000, [10_000], (0, [300]), id="price of a later tier"),
    # 895 units at 10 cents reach the next tier; there the last 8 cents still pay for one unit
    pytest.param(900, 105, [8], (899, [6]), id="cheaper tier after the credits of the dearer one"),
    # What credits pay for isn't reported, so that it doesn't move the usage to the next tier
    pytest.param(2_000, 100, [100_000], (0, [20_000]), id="credits don't count towards a tier"),
]


@pytest.mark.parametrize(("quantity", "position", "left", "expected"), SPLITS)
def test_usage_is_split_into_billed_and_drawn(
    quantity: int, position: int, left: list[int], expected: tuple[int, list[int]]
) -> None:
    grants = [grant(f"pgr_{index}", remaining) for index, remaining in enumerate(left)]
    split = drawing.split_usage(quantity, TIERED, position, grants, JUNE)
    assert (split.billed, [draw.amount for draw in split.draws]) == expected
    assert split.billed + split.drawn == quantity
    assert sum(draw.units for draw in split.draws) == split.drawn
    assert [each.remaining for each in grants] == left, "the caller takes it"

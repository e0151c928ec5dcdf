"""The simulator's own pricing against Stripe's published examples and recorded prorations."""

from decimal import Decimal

import pytest

from leakage_pipeline.simulator.pricing import (
    Charge,
    Rate,
    amount,
    charges,
    discount_share,
    free_quantity,
    graduated,
    overage_amount,
    package,
    per_unit,
    proration,
    round_half_away,
    to_major,
    to_minor,
    volume,
    with_included,
)

DOCUMENTED_TIERS = ((5, "700"), (10, "650"), (None, "600"))
DOCUMENTED_FLATS = ((5, "500", "1000"), (10, "400", "2000"), (None, "300", "3000"))


@pytest.mark.parametrize(
    ("rate", "quantity", "expected"),
    [
        (graduated(*DOCUMENTED_TIERS), 6, 4150),
        (graduated(*DOCUMENTED_TIERS), 20, 12750),
        (graduated(*DOCUMENTED_TIERS), 25, 15750),
        (volume(*DOCUMENTED_TIERS), 6, 3900),
        (volume(*DOCUMENTED_TIERS), 20, 12000),
        (volume(*DOCUMENTED_FLATS), 12, 6600),
        (graduated(*DOCUMENTED_FLATS), 12, 11100),
        (graduated(*DOCUMENTED_FLATS), 0, 1000),  # the first tier's flat amount at no usage
        (graduated(*DOCUMENTED_FLATS), 5, 3500),  # exactly on the bound: second tier not met
        (per_unit("0.05"), 30, 2),  # 1.5 cents
        (package("500", 1000), 14_501, 7500),
        (package("500", 1000), 14_000, 7000),
        (package("500", 1000, "down"), 14_999, 7000),
        (package("500", 1000), 0, 0),
    ],
)
def test_amounts(rate: Rate, quantity: int, expected: int) -> None:
    assert amount(rate, Decimal(quantity)) == expected


def test_a_tiered_price_gives_a_unit_line_and_a_flat_line_per_tier() -> None:
    rate = graduated((1000, "0", "900"), (None, "3.6", "0"))
    assert charges(rate, Decimal(1031)) == [
        Charge(Decimal(1000), Decimal(0), 0),
        Charge(Decimal(0), None, 900),
        Charge(Decimal(31), Decimal("3.6"), 112),
        Charge(Decimal(0), None, 0),
    ]


def test_quantities_of_tier_lines_add_up_to_the_usage() -> None:
    rate = graduated((10, "5"), (20, "4"), (None, "3"))
    lines = charges(rate, Decimal("27.5"))
    assert sum(line.quantity for line in lines) == Decimal("27.5")


def test_each_line_is_rounded_by_itself() -> None:
    rate = graduated((1, "0.5"), (2, "0.5"), (None, "0.5"))
    assert amount(rate, Decimal(3)) == 3  # three half cents, each rounded up


@pytest.mark.parametrize(
    ("value", "rounded"), [("0.5", 1), ("1.5", 2), ("2.5", 3), ("-2.5", -3), ("2.49", 2)]
)
def test_ties_go_away_from_zero(value: str, rounded: int) -> None:
    assert round_half_away(Decimal(value)) == rounded


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [((1000, 1), (1800, 1), (-3, 4)), ((1000, 1), (1000, 3), (-3, 7))],
)
def test_prorations_as_recorded(
    old: tuple[int, int], new: tuple[int, int], expected: tuple[int, int]
) -> None:
    remaining, total = 6_480, 2_592_000
    credit = proration(-old[0], old[1], remaining, total)
    debit = proration(new[0], new[1], remaining, total)
    assert (credit, debit) == expected


@pytest.mark.parametrize(
    ("used", "expected"), [(10_400, 0), (10_500, 0), (10_501, 500), (25_000, 7500)]
)
def test_overage_with_grace(used: int, expected: int) -> None:
    free = free_quantity(10_000, Decimal(5))
    assert overage_amount(package("500", 1000), Decimal(used), free) == expected


def test_included_quantity_then_graduated_overage() -> None:
    rate = graduated((50_000, "0.5"), (None, "0.4"))
    stripe = with_included(rate, 100_000)
    assert amount(stripe, Decimal(175_000)) == 35_000
    assert overage_amount(rate, Decimal(175_000), Decimal(100_000)) == 35_000


def test_free_units_do_not_fit_a_package() -> None:
    with pytest.raises(ValueError, match="no package price"):
        with_included(package("500", 1000), 10)


def test_percent_discount() -> None:
    assert discount_share(2000, Decimal("25.5")) == 510
    assert discount_share(14_900, Decimal(15)) == 2235


def test_yen_has_no_minor_unit() -> None:
    assert to_minor(Decimal(5000), "jpy") == 5000
    assert to_major(5000, "jpy") == Decimal(5000)
    assert to_minor(Decimal("49.00"), "usd") == 4900
    with pytest.raises(ValueError, match="minor units"):
        to_minor(Decimal("0.001"), "usd")

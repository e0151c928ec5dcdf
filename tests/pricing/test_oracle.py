"""The oracle against numbers that Stripe itself published or sent."""

from decimal import Decimal
from fractions import Fraction

import pytest

from tests.pricing.oracle import (
    Coupon,
    Currency,
    Price,
    Terms,
    Tier,
    change,
    discounts,
    package,
    per_unit,
    rate,
)

USD, JPY, KWD = Currency("usd"), Currency("jpy"), Currency("kwd")


def test_a_change_inside_a_period_is_floored_as_recorded() -> None:
    """Recorded: 6,480 of 2,592,000 seconds left; 1000 to 1800, and one to three at 1000."""
    left = Fraction(6480, 2592000)
    ten, eighteen, one, three = per_unit("10"), per_unit("18"), Decimal(1), Decimal(3)
    assert change(Terms(ten), one, Terms(eighteen), one, USD, left) == (
        Decimal("-0.03"),
        Decimal("0.04"),
    )
    assert change(Terms(ten), one, Terms(ten), three, USD, left) == (
        Decimal("-0.03"),
        Decimal("0.07"),
    )


def test_lines_are_rounded_and_never_the_price() -> None:
    """Documentation: 0.05 cents times 30 is 1.5 cents, billed as 2."""
    assert rate(Terms(per_unit("0.0005")), Decimal(30), USD) == Decimal("0.02")


def test_an_amount_off_is_spread_by_line_the_rest_on_the_last() -> None:
    """Documentation: 5.00 off lines of 10.00 and 20.00."""
    lines = [Decimal("10.00"), Decimal("20.00")]
    assert discounts(lines, [Coupon(amount_off=Decimal(5))], USD) == [
        [Decimal("1.66"), Decimal("3.34")]
    ]


def test_a_percent_off_may_have_decimals() -> None:
    assert discounts([Decimal(20)], [Coupon(percent_off=Decimal("25.5"))], USD) == [
        [Decimal("5.10")]
    ]


def test_a_tiered_invoice_that_stripe_sent() -> None:
    """1,000 free units with a fee of 9.00, 31 more at 3.6 cents: lines of 0, 900 and 112."""
    tiers = Terms(
        Price(
            "graduated",
            (Tier(Decimal(1000), Decimal(0), Decimal(9)), Tier(None, Decimal("0.036"))),
        )
    )
    assert rate(tiers, Decimal(1031), USD) == Decimal("10.12")


@pytest.mark.parametrize(
    ("currency", "amount", "nearest", "floored"),
    [
        (USD, "-2.505", "-2.51", "-2.51"),
        (USD, "2.505", "2.51", "2.50"),
        (USD, "2.5049999", "2.50", "2.50"),
        (JPY, "1234.5", "1235", "1234"),
        (KWD, "1.2349", "1.230", "1.230"),
        (KWD, "1.235", "1.240", "1.230"),
    ],
)
def test_currencies_round_to_what_can_be_charged(
    currency: Currency, amount: str, nearest: str, floored: str
) -> None:
    assert currency.nearest(Fraction(amount)) == Decimal(nearest)
    assert currency.floored(Fraction(amount)) == Decimal(floored)
    assert currency.minor(Decimal(nearest)) == int(Decimal(nearest).scaleb(currency.exponent))


def test_packages_count_as_started_full_or_in_parts() -> None:
    """Documentation: 150 minutes in packages of 60, rounded up, are three."""
    hours = {mode: Terms(package("2", "60", mode)) for mode in ("up", "down", "none")}
    amounts = {mode: rate(terms, Decimal(150), USD) for mode, terms in hours.items()}
    assert amounts == {"up": Decimal("6.00"), "down": Decimal("4.00"), "none": Decimal("5.00")}

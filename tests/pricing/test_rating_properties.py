"""The SQL that rates against the oracle, over many drawn charges in one query each.

Examples are the same in every run (derandomize), so that a failure here is one anywhere.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import uuid4

import psycopg2.extensions
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg2 import sql
from sqlalchemy.engine import make_url

from leakage_pipeline.warehouse.connection import connect
from tests.pricing import drawn_charges as drawn
from tests.pricing import oracle, rating_views
from tests.pricing.rating_views import Charge

USD = oracle.Currency("usd")
PROPERTY: Any = settings(
    derandomize=True,
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def rating(server_url: str) -> Iterator[psycopg2.extensions.connection]:
    """A database with the rating models over empty tables."""
    name = f"test_{uuid4().hex}"
    server = connect(server_url)
    server.autocommit = True
    with server.cursor() as cursor:
        cursor.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    url = make_url(server_url).set(database=name).render_as_string(hide_password=False)
    connection = connect(url)
    rating_views.create(connection)
    yield connection
    connection.close()
    with server.cursor() as cursor:
        cursor.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
    server.close()


CLIFF = Charge(
    agreed=oracle.Terms(
        oracle.Price(
            "volume",
            (oracle.Tier(Decimal(100), Decimal(2)), oracle.Tier(None, Decimal(1))),
        )
    ),
    used=Decimal(120),
    asked=oracle.per_unit("1"),
    billed=Decimal(100),
    currency=USD,
)
BELOW_A_TIE = replace(
    CLIFF,
    agreed=oracle.Terms(oracle.per_unit("0.00499999999999")),
    used=Decimal(1),
    billed=Decimal(0),
)


@PROPERTY
@given(st.lists(drawn.charges(), min_size=1, max_size=8))
@example([BELOW_A_TIE])
def test_sql_and_oracle_agree_to_the_minor_unit(
    rating: psycopg2.extensions.connection, charges: list[Charge]
) -> None:
    assert rating_views.rate(rating, charges) == [charge.amounts() for charge in charges]


@PROPERTY
@given(st.lists(st.one_of(drawn.prorations(), drawn.credits_by_line()), min_size=1, max_size=8))
def test_prorations_agree_to_the_minor_unit(
    rating: psycopg2.extensions.connection, charges: list[Charge]
) -> None:
    assert rating_views.rate(rating, charges) == [charge.amounts() for charge in charges]


@PROPERTY
@given(
    st.lists(
        drawn.charges(st.one_of(drawn.PER_UNIT, drawn.PACKAGES, drawn.GRADUATED)),
        min_size=1,
        max_size=8,
    )
)
def test_graduated_amounts_never_fall_as_usage_rises(
    rating: psycopg2.extensions.connection, charges: list[Charge]
) -> None:
    """So missing usage is never overbilling, except under volume prices."""
    for charge, found in zip(charges, rating_views.rate(rating, charges), strict=True):
        expected, at_billed_quantity, _ = found
        assert (expected >= at_billed_quantity) or charge.used < charge.billed
        assert (expected <= at_billed_quantity) or charge.used > charge.billed


@PROPERTY
@given(st.lists(drawn.charges(drawn.VOLUME), min_size=1, max_size=8))
@example([CLIFF])
def test_the_sign_of_a_usage_gap_follows_the_volume_price(
    rating: psycopg2.extensions.connection, charges: list[Charge]
) -> None:
    """Twenty units too few on the meter may be 80.00 too much on the invoice."""
    for charge, found in zip(charges, rating_views.rate(rating, charges), strict=True):
        expected, at_billed_quantity, _ = charge.amounts()
        assert found[0] - found[1] == expected - at_billed_quantity
    if charges == [CLIFF]:
        assert found[0] - found[1] == Decimal("-80.00")


@PROPERTY
@given(
    drawn.prorations(),
    st.lists(st.integers(1, 10**6), min_size=1, max_size=8),
)
def test_splitting_a_period_costs_less_than_a_unit_a_segment(
    rating: psycopg2.extensions.connection, charge: Charge, weights: list[int]
) -> None:
    """Segments at one price add up to the whole period, but for one rounding each."""
    full = charge.seconds[1]
    bounds = [full * sum(weights[:count]) // sum(weights) for count in range(len(weights) + 1)]
    segments = [
        replace(charge, seconds=(end - start, full)) for start, end in itertools.pairwise(bounds)
    ]
    whole, *split = rating_views.rate(rating, [replace(charge, seconds=(full, full)), *segments])
    for amount, parts in zip(whole, zip(*split, strict=True), strict=True):
        lost = amount - sum(parts)
        assert 0 <= Fraction(lost) <= len(segments) * charge.currency.step


@PROPERTY
@given(st.lists(drawn.charges(), min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_charges_do_not_touch_each_other(
    rating: psycopg2.extensions.connection, charges: list[Charge], shuffle: Any
) -> None:
    """In any order, and one charge alone, the amounts are the same."""
    order = list(range(len(charges)))
    shuffle.shuffle(order)
    together = rating_views.rate(rating, charges)
    shuffled = rating_views.rate(rating, [charges[index] for index in order])
    assert shuffled == [together[index] for index in order]
    assert rating_views.rate(rating, charges[:1]) == together[:1]


@PROPERTY
@given(drawn.charges(), st.sampled_from([Decimal(2), Decimal(10), Decimal(1000), Decimal("0.5")]))
def test_counting_in_other_units_changes_nothing(
    rating: psycopg2.extensions.connection, charge: Charge, factor: Decimal
) -> None:
    """Megabytes or gigabytes: bounds and quantities times a factor, unit amounts divided by it."""
    original, scaled = rating_views.rate(rating, [charge, _scaled(charge, factor)])
    assert original == scaled


def _scaled(charge: Charge, factor: Decimal) -> Charge:
    agreed = charge.agreed
    return replace(
        charge,
        agreed=oracle.Terms(
            _scaled_price(agreed.price, factor), agreed.included * factor, agreed.grace_percent
        ),
        used=charge.used * factor,
        billed=charge.billed * factor,
        asked=_scaled_price(charge.asked, factor),
    )


def _scaled_price(price: oracle.Price, factor: Decimal) -> oracle.Price:
    if price.divide_by is not None:
        return replace(price, divide_by=price.divide_by * factor)
    tiers = tuple(
        oracle.Tier(
            None if tier.up_to is None else tier.up_to * factor,
            tier.unit_amount / factor,
            tier.flat_amount,
        )
        for tier in price.tiers
    )
    return replace(price, tiers=tiers)

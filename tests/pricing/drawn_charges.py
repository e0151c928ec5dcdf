"""Hypothesis strategies of prices, terms and charges, with the bounds of tiers drawn on purpose."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from hypothesis import strategies as st

from tests.pricing import oracle
from tests.pricing.rating_views import Charge

CURRENCIES = st.sampled_from([oracle.Currency(code) for code in ("usd", "eur", "jpy", "kwd")])
MONTHS_IN_SECONDS = st.sampled_from([28, 29, 30, 31, 365]).map(lambda days: days * 86400)


def decimals(highest: int, places: int) -> st.SearchStrategy[Decimal]:
    """Decimals from 0 with at most so many places."""
    return st.builds(
        lambda whole, digits: Decimal(whole).scaleb(-digits),
        st.integers(0, highest),
        st.integers(0, places),
    )


UNIT_AMOUNTS = decimals(10**6, 10)
FLAT_AMOUNTS = st.one_of(st.just(Decimal(0)), decimals(10**6, 4))
INTERVALS = st.sampled_from([Fraction(1), Fraction(12), Fraction(3), Fraction(1, 12)])


@st.composite
def tiers(draw: st.DrawFn) -> tuple[oracle.Tier, ...]:
    """One to five tiers, the last one open."""
    widths = draw(st.lists(decimals(10**5, 2).filter(bool), max_size=4))
    bounds: list[Decimal | None] = []
    top = Decimal(0)
    for width in widths:
        top += width
        bounds.append(top)
    return tuple(
        oracle.Tier(bound, draw(UNIT_AMOUNTS), draw(FLAT_AMOUNTS)) for bound in [*bounds, None]
    )


def tiered(kind: oracle.Kind) -> st.SearchStrategy[oracle.Price]:
    """Graduated or volume prices."""
    return st.builds(oracle.Price, st.just(kind), tiers())


PER_UNIT = st.builds(oracle.per_unit, UNIT_AMOUNTS)
PACKAGES = st.builds(
    oracle.package,
    FLAT_AMOUNTS,
    decimals(10**5, 2).filter(bool),
    st.sampled_from(["up", "down", "none"]),
)
GRADUATED = tiered("graduated")
VOLUME = tiered("volume")
PRICES = st.one_of(PER_UNIT, PACKAGES, GRADUATED, VOLUME)


@st.composite
def terms(draw: st.DrawFn, prices: st.SearchStrategy[oracle.Price] = PRICES) -> oracle.Terms:
    """A price, often with an included quantity and a grace."""
    included = draw(st.one_of(st.just(Decimal(0)), decimals(10**5, 2)))
    grace = draw(st.one_of(st.just(Decimal(0)), decimals(100, 0), decimals(10**4, 2)))
    return oracle.Terms(draw(prices), included, min(grace, Decimal(100)))


@st.composite
def quantities(draw: st.DrawFn, agreed: oracle.Terms) -> Decimal:
    """A quantity, often one where something changes: a bound, a package, what is included."""
    free = agreed.included * (1 + agreed.grace_percent / 100)
    edges = [free, agreed.included]
    edges += [free + tier.up_to for tier in agreed.price.tiers if tier.up_to is not None]
    if agreed.price.divide_by is not None:
        edges.append(free + agreed.price.divide_by * draw(st.integers(0, 20)))
    steps = st.sampled_from([Decimal(0), Decimal(1), Decimal("0.001"), Decimal(-1)])
    near = st.builds(lambda edge, step: max(Decimal(0), edge + step), st.sampled_from(edges), steps)
    return draw(st.one_of(decimals(10**7, 3), near))


@st.composite
def charges(draw: st.DrawFn, prices: st.SearchStrategy[oracle.Price] = PRICES) -> Charge:
    """A whole period's charge under any terms."""
    agreed = draw(terms(prices))
    return Charge(
        agreed=agreed,
        used=draw(quantities(agreed)),
        asked=draw(PRICES),
        billed=draw(quantities(agreed)),
        currency=draw(CURRENCIES),
        intervals=draw(INTERVALS),
    )


@st.composite
def prorations(draw: st.DrawFn) -> Charge:
    """A part of a period, credited or charged, floored once, as Stripe does."""
    full = draw(MONTHS_IN_SECONDS)
    units = Decimal(draw(st.integers(0, 500)))
    # Prices of licences: whole minor units, or a few decimals of one.
    price = draw(st.one_of(st.builds(oracle.per_unit, decimals(10**7, 4)), GRADUATED, VOLUME))
    return Charge(
        agreed=oracle.Terms(price),
        used=units,
        asked=price,
        billed=units,
        currency=draw(CURRENCIES),
        intervals=draw(INTERVALS),
        seconds=(draw(st.integers(0, full)), full),
        is_credit=draw(st.booleans()),
        is_floored=True,
    )


@st.composite
def credits_by_line(draw: st.DrawFn) -> Charge:
    """What flexible billing mode gives back of a fee: each of its lines by itself."""
    return replace(draw(prorations()), is_credit=True, by_line=True)

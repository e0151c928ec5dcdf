"""The whole pipeline against the oracle, for customers drawn at random."""

from decimal import Decimal
from fractions import Fraction

from tests.pricing import rating_views
from tests.pricing.drawn_customers import SEED
from tests.support.audit import rows
from tests.support.one_company import OneCompany

_ROWS = """
    select customer_id, expected_amount, billed_amount, usage_gap_amount, minimum_gap_amount,
        unexplained_amount
    from marts.fct_expected_vs_billed where phase = 'closed'
"""


def test_expected_and_billed_are_the_oracles_for_drawn_customers(audited: OneCompany) -> None:
    """Expected, billed, the usage gap and the minimum's: to the minor unit."""
    found = {row["customer_id"]: row for row in rows(audited.url, _ROWS)}
    wrong = []
    for drawn in audited.drawn:
        row = found[drawn.customer]
        slack = Decimal(0)
        if drawn.slack:
            step = drawn.currency.step * drawn.slack
            slack = Decimal(step.numerator) / Decimal(step.denominator)
        off = {
            "expected": row["expected_amount"] - drawn.expected,
            "billed": row["billed_amount"] - drawn.billed,
            "usage gap": row["usage_gap_amount"] - drawn.usage_gap,
            "minimum": row["minimum_gap_amount"] - drawn.minimum_gap,
            "unexplained": row["unexplained_amount"],
        }
        allowed = {"expected": slack, "minimum": slack}
        wrong += [
            (drawn.customer, step, amount)
            for step, amount in off.items()
            if abs(amount) > allowed.get(step, Decimal(0))
        ]
    assert not wrong, f"drawn with seed {SEED}"


def test_the_draw_reaches_every_authority_and_both_signs(audited: OneCompany) -> None:
    """A draw that proves nothing would pass as well."""
    authorities = [drawn.authorities for drawn in audited.drawn]
    for authority in ("stripe", "contract", "price_book"):
        assert sum(authority in found for found in authorities) >= 10, authority
    assert sum(drawn.usage_gap > 0 for drawn in audited.drawn) >= 10
    assert sum(drawn.usage_gap < 0 for drawn in audited.drawn) >= 5
    assert sum(drawn.minimum_gap > 0 for drawn in audited.drawn) >= 3
    assert sum(drawn.slack > 0 for drawn in audited.drawn) >= 3
    assert sum(drawn.expected != drawn.billed for drawn in audited.drawn) >= 40
    assert max(Fraction(drawn.expected) for drawn in audited.drawn) > 1000


def test_the_views_of_the_rating_are_what_dbt_compiles(audited: OneCompany) -> None:
    """The properties of test_rating_properties speak about the SQL that an audit runs."""
    compiled = audited.directory / ".leakage" / "dbt" / "compiled"
    database = audited.url.split("?")[0].rsplit("/", 1)[1]
    for model in rating_views.MODELS:
        (path,) = compiled.rglob(f"{model}.sql")
        rendered = rating_views.sql_of(model, database)
        assert " ".join(path.read_text().split()) == " ".join(rendered.split())

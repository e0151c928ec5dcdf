"""Reads the price book: what each plan lists at, from which day on."""

from hashlib import md5

from leakage_pipeline.business import terms, values
from leakage_pipeline.business.contracts import INTERVALS
from leakage_pipeline.business.reading import Reading, Row, as_payload, parse_rows, table
from leakage_pipeline.business.rows import Found, Layout
from leakage_pipeline.business.tables import PRICE_BOOK, TERM_METERS, TERM_TIERS
from leakage_pipeline.business.values import Cells

KIND = "price_book"
LAYOUT = Layout(
    source="price_book",
    required=("plan", "currency", "interval", "base_price", "effective_from"),
    optional=("included_usage", "overage_rates", "features", "seats_included"),
    order_by=("plan", "currency", "interval", "effective_from"),
)


def read(found: Found) -> Reading:
    """The rows of price_book, and of its meters and tiers.

    Args:
        found: The source; rows that cannot be read are added to its list of rejected ones.
    """
    parsed = [entry.row for entry in parse_rows(found, _parse)]
    return Reading(
        [
            (PRICE_BOOK, table(PRICE_BOOK, [row for row, _, _ in parsed])),
            (TERM_METERS, table(TERM_METERS, [row for _, meters, _ in parsed for row in meters])),
            (TERM_TIERS, table(TERM_TIERS, [row for _, _, tiers in parsed for row in tiers])),
        ],
        found.rejected,
    )


def _parse(cells: Cells) -> tuple[tuple[object, ...], tuple[Row, list[Row], list[Row]]]:
    for column in ("plan", "currency", "interval", "effective_from"):
        values.text(cells, column)
    effective_from = values.instant(cells, "effective_from")
    currency = values.currency(cells, "currency")
    interval = values.one_of(cells, "interval", INTERVALS)
    plan = values.text(cells, "plan")
    # Plans are compared without regard to case, so two spellings of one plan are one row.
    key = (plan.lower(), currency, interval, effective_from and effective_from.isoformat())
    price_book_id = md5("|".join(map(str, key)).encode(), usedforsecurity=False).hexdigest()
    meters, tiers = terms.rows_of(KIND, price_book_id, terms.meter_terms(cells))
    row = {
        "price_book_id": price_book_id,
        "plan": plan,
        "currency": currency,
        "interval": interval,
        "base_price": values.plain(values.amount(cells, "base_price")),
        "seats_included": values.whole(cells, "seats_included"),
        "features": values.words(cells, "features"),
        "effective_from": effective_from,
        "payload": as_payload(cells),
    }
    return key, (row, meters, tiers)

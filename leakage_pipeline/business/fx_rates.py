"""Reads exchange rates: how much of `to_currency` one unit of `from_currency` was on a day."""

from leakage_pipeline.business import values
from leakage_pipeline.business.reading import Reading, Row, parse_rows, table
from leakage_pipeline.business.rows import Found, Layout
from leakage_pipeline.business.tables import FX_RATES
from leakage_pipeline.business.values import Cells, Unreadable

_COLUMNS = ("rate_date", "from_currency", "to_currency", "rate")
LAYOUT = Layout(source="fx_rates", required=_COLUMNS, optional=(), order_by=_COLUMNS[:3])


def read(found: Found) -> Reading:
    """The rows of fx_rates.

    Args:
        found: The source; rows that cannot be read are added to its list of rejected ones.
    """
    rows = [entry.row for entry in parse_rows(found, _parse)]
    return Reading([(FX_RATES, table(FX_RATES, rows))], found.rejected)


def _parse(cells: Cells) -> tuple[tuple[object, ...], Row]:
    for column in _COLUMNS:
        values.text(cells, column)
    rate = values.amount(cells, "rate")
    if not rate:
        message = "rate is 0"
        raise Unreadable(message)
    row = {
        "rate_date": values.day(cells, "rate_date"),
        "from_currency": values.currency(cells, "from_currency"),
        "to_currency": values.currency(cells, "to_currency"),
        "rate": values.plain(rate),
    }
    return (row["rate_date"], row["from_currency"], row["to_currency"]), row

"""Reads the register of approved exceptions: deals that are no leakage while they are valid."""

from leakage_pipeline.business import values
from leakage_pipeline.business.reading import Reading, Row, parse_rows, table
from leakage_pipeline.business.rows import Found, Layout
from leakage_pipeline.business.tables import EXCEPTIONS
from leakage_pipeline.business.values import Cells, Unreadable

LAYOUT = Layout(
    source="exceptions",
    required=("exception_id", "customer_id", "leakage_type", "valid_from"),
    optional=("reason", "approved_by", "valid_until"),
    order_by=("exception_id",),
)


def read(found: Found) -> Reading:
    """The rows of exceptions.

    Args:
        found: The source; rows that cannot be read are added to its list of rejected ones.
    """
    rows = [entry.row for entry in parse_rows(found, _parse)]
    return Reading([(EXCEPTIONS, table(EXCEPTIONS, rows))], found.rejected)


def _parse(cells: Cells) -> tuple[tuple[object, ...], Row]:
    values.text(cells, "valid_from")
    begin, end = values.day(cells, "valid_from"), values.day(cells, "valid_until")
    if begin and end and end < begin:
        message = f"valid_until {end} is before valid_from {begin}"
        raise Unreadable(message)
    row = {
        "exception_id": values.text(cells, "exception_id"),
        "customer_id": values.text(cells, "customer_id"),
        "leakage_type": values.text(cells, "leakage_type").lower(),
        "reason": cells["reason"],
        "approved_by": cells["approved_by"],
        "valid_from": begin and values.begin_of(begin),
        "valid_until": end and values.end_of(end),
    }
    return (row["exception_id"],), row

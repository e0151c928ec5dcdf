"""Reads contracts: what was agreed with one customer, silent where a cell is empty."""

from leakage_pipeline.business import terms, values
from leakage_pipeline.business.reading import Reading, Row, as_payload, parse_rows, table
from leakage_pipeline.business.rows import Found, Layout
from leakage_pipeline.business.tables import CONTRACTS, TERM_METERS, TERM_TIERS
from leakage_pipeline.business.values import Cells, Unreadable

KIND = "contract"
LAYOUT = Layout(
    source="contracts",
    required=("contract_id", "customer_id", "effective_date"),
    optional=(
        "plan",
        "base_price",
        "currency",
        "interval",
        "included_usage",
        "overage_rates",
        "grace_percent",
        "discount_percent",
        "discount_reason",
        "discount_threshold",
        "minimum_commitment",
        "grandfathered",
        "end_date",
    ),
    order_by=("contract_id", "effective_date"),
)
INTERVALS = ("month", "year")
_REASONS = ("annual_commitment", "volume_discount", "referral", "negotiated")


def read(found: Found) -> Reading:
    """The rows of contracts, and of its meters and tiers.

    Args:
        found: The source; rows that cannot be read are added to its list of rejected ones.
    """
    parsed = [entry.row for entry in parse_rows(found, _parse)]
    return Reading(
        [
            (CONTRACTS, table(CONTRACTS, [contract for contract, _, _ in parsed])),
            (TERM_METERS, table(TERM_METERS, [row for _, meters, _ in parsed for row in meters])),
            (TERM_TIERS, table(TERM_TIERS, [row for _, _, tiers in parsed for row in tiers])),
        ],
        found.rejected,
    )


def _parse(cells: Cells) -> tuple[tuple[object, ...], tuple[Row, list[Row], list[Row]]]:
    contract_id = values.text(cells, "contract_id")
    meters, tiers = terms.rows_of(KIND, contract_id, terms.meter_terms(cells))
    contract = {
        "contract_id": contract_id,
        "customer_id": values.text(cells, "customer_id"),
        "plan": cells["plan"],
        "base_price": values.plain(values.amount(cells, "base_price")),
        "currency": values.currency(cells, "currency"),
        "interval": values.one_of(cells, "interval", INTERVALS),
        "grace_percent": values.plain(values.percent(cells, "grace_percent")),
        "discount_percent": values.plain(values.percent(cells, "discount_percent")),
        "discount_reason": values.one_of(cells, "discount_reason", _REASONS),
        "minimum_commitment": values.plain(values.amount(cells, "minimum_commitment")),
        "grandfathered": values.boolean(cells, "grandfathered"),
        "payload": as_payload(cells),
        **_threshold(cells),
        **_validity(cells),
    }
    return (contract_id,), (contract, meters, tiers)


def _threshold(cells: Cells) -> Row:
    """The quantity of a meter from which the discount is deserved."""
    threshold = values.mapping(cells, "discount_threshold")
    if not threshold:
        return {"threshold_meter": None, "threshold_min": None}
    meter = threshold.get("meter")
    if set(threshold) != {"meter", "min"} or not isinstance(meter, str) or not meter:
        message = 'discount_threshold has an unknown shape: it needs {"meter": ..., "min": ...}'
        raise Unreadable(message)
    minimum = values.number(threshold["min"], "discount_threshold.min")
    return {"threshold_meter": meter, "threshold_min": values.plain(minimum)}


def _validity(cells: Cells) -> Row:
    """Days as agreed, and the instants they mean: both days are included whole, in UTC."""
    values.text(cells, "effective_date")
    begin, end = values.day(cells, "effective_date"), values.day(cells, "end_date")
    if begin and end and end < begin:
        message = f"end_date {end} is before effective_date {begin}"
        raise Unreadable(message)
    return {
        "effective_date": begin,
        "end_date": end,
        "effective_from": begin and values.begin_of(begin),
        "effective_until": end and values.end_of(end),
    }

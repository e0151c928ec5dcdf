"""When a customer's result changes although no row of theirs does: an instant has gone by.

Every instant in a customer's rows counts when it passes, and again when a draft of that instant is
final. Instants that models compare with `as_of` after a longer delay, and those that models work
out, are listed here. Customers about whom a finding stands are priced every night and need none.
"""

from collections.abc import Collection, Iterable, Iterator

from psycopg2 import sql

from leakage_pipeline.nights.ownership import OWNED, instants
from leakage_pipeline.warehouse.schemas import table_specs

# As SQL over raw_business.audit_settings.
_AT_ONCE = "interval '0'"
_CLOSED = "make_interval(hours => settings.finalization_delay_hours)"
_INVOICE_GRACE = "make_interval(days => settings.invoice_grace_days)"
_PAYMENT_GRACE = "make_interval(days => settings.payment_grace_days)"
_IF_DRAFT = "case when own.status = 'draft' then"
_IF_OPEN = "case when own.status = 'open' then"

# By raw table: instants of a row that count later than at once, as SQL over `own`.
LATER: dict[tuple[str, str], tuple[str, ...]] = {
    ("raw_stripe", "subscriptions"): (
        f"own.trial_end + {_INVOICE_GRACE}",
        f"own.ended_at + {_INVOICE_GRACE}",
    ),
    ("raw_stripe", "invoices"): (
        # Drafts that should be final, and what a pause wrote off.
        f"{_IF_DRAFT} own.created + {_INVOICE_GRACE} end",
        f"{_IF_DRAFT} own.automatically_finalizes_at + {_INVOICE_GRACE} end",
        # Debts.
        f"{_IF_OPEN} own.due_date + {_PAYMENT_GRACE} end",
        f"{_IF_OPEN} own.finalized_at + {_PAYMENT_GRACE} end",
        # Customers who were invoiced by hand; a year is a day longer now and then.
        "own.created + interval '1 year'",
        "own.created + interval '1 year 1 day'",
    ),
    ("raw_stripe", "invoice_items"): (f"own.date + {_INVOICE_GRACE}",),
    ("raw_stripe", "events"): (
        "case when own.is_undelivered then own.created + interval '1 day' end",
        "case when own.is_undelivered then own.created + interval '30 days' end",
    ),
    # A card is valid to the end of its month, and its end is told 30 days ahead.
    ("raw_stripe", "payment_methods"): tuple(
        "case when own.card_exp_month between 1 and 12"
        " and own.card_exp_year between 1970 and 9999"
        " then make_timestamptz(own.card_exp_year, own.card_exp_month, 1, 0, 0, 0, 'UTC')"
        f" + interval '1 month' + {delay} end"
        for delay in (_AT_ONCE, "interval '-30 days'")
    ),
    ("raw_business", "accounts"): (f"own.updated_at + {_INVOICE_GRACE}",),
}

# By a kept table of the last build: instants that models worked out.
WORKED_OUT: dict[str, tuple[str, ...]] = {
    # A period ends, is closed an hour later, and its invoice is missing some days after that.
    "intermediate.int_periods__usage_cuts": tuple(
        f"own.cut_at + {delay}" for delay in (_AT_ONCE, _CLOSED, _INVOICE_GRACE)
    ),
    # So does the span of a minimum commitment, which may end inside a period.
    "intermediate.int_bridge__commitments": tuple(
        f"own.span_end + {delay}" for delay in (_AT_ONCE, _INVOICE_GRACE)
    ),
}


def passed(tables: Collection[tuple[str, str]]) -> Iterator[sql.Composable]:
    """SQL that finds the customers of whom an instant of a raw row lies between two builds.

    Args:
        tables: Of these tables.

    Yields:
        Selects of customer_id with the parameters since and as_of.
    """
    specs = {(spec.schema, spec.name): spec for spec in table_specs()}
    for key, owned in OWNED.items():
        counts_at: list[sql.Composable] = [
            sql.SQL("{} + {}").format(sql.Identifier("own", column), sql.SQL(delay))
            for column in instants(specs[key])
            for delay in (_AT_ONCE, _CLOSED)
        ]
        counts_at += map(sql.SQL, LATER.get(key, ()))
        if key in tables and counts_at and not owned.known_late:
            yield _select(owned.customer, specs[key].identifier, owned.joins, counts_at)


def worked_out() -> Iterator[sql.Composable]:
    """The same for instants that the models of the last build worked out."""
    for table, counts_at in WORKED_OUT.items():
        yield _select("own.customer_id", sql.SQL(table), "", map(sql.SQL, counts_at))


def _select(
    customer: str, table: sql.Composable, joins: str, counts_at: Iterable[sql.Composable]
) -> sql.Composed:
    lies_between = sql.SQL(" or ").join(
        sql.SQL("{} between %(since)s and %(as_of)s").format(instant) for instant in counts_at
    )
    return sql.SQL(
        "select distinct {} from {} as own {}"
        " cross join raw_business.audit_settings as settings where {}"
    ).format(sql.SQL(customer), table, sql.SQL(joins), lies_between)

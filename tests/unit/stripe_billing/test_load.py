"""Whole loads: from a server over HTTP into Postgres."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg2.extensions
import pytest

from leakage_pipeline.failures import PermanentFailure, TransientFailure
from leakage_pipeline.simulator import stripe_objects as so
from leakage_pipeline.simulator.stripe_server import Faults, ScriptedFault, StripeServer
from leakage_pipeline.stripe_billing import load, tables
from leakage_pipeline.stripe_billing.client import StripeReader
from leakage_pipeline.stripe_billing.errors import EndpointForbidden
from leakage_pipeline.stripe_billing.events import load_events
from leakage_pipeline.stripe_billing.load_entitlements import load_entitlements
from leakage_pipeline.stripe_billing.load_payments import (
    load_balance_transactions,
    load_payment_methods,
    load_payments,
)
from leakage_pipeline.stripe_billing.status import read_sync_status
from tests.unit.stripe_billing.conftest import ReaderOf
from tests.unit.stripe_billing.trap_account import AS_OF, JAN, trap_account

Connection = psycopg2.extensions.connection

LOADS: tuple[Callable[..., load.LoadResult], ...] = (
    load.load_subscriptions,
    load.load_invoices,
    load.load_credit_notes,
    load.load_catalog,
    load.load_customers,
    load.load_discounts,
    load.load_meters,
    load.load_schedules,
    load_events,
    load_payments,
    load_payment_methods,
    load_balance_transactions,
    load_entitlements,
)


def load_all(reader: StripeReader, conn: Connection) -> list[load.LoadResult]:
    return [one(reader, conn, AS_OF) for one in LOADS]


def fetch(conn: Connection, query: str) -> list[tuple[Any, ...]]:
    with conn.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def contents(conn: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, but for how many requests it took."""
    found = {}
    for spec in tables.TABLES:
        columns = [column for column in spec.columns if column != "requests"]
        select = ", ".join(f"{column}::text" for column in columns)
        found[spec.name] = sorted(
            fetch(conn, f"select {select} from {spec.schema}.{spec.name}"),  # noqa: S608
            key=str,
        )
    return found


# ---------------------------------------------------------------- what arrives


def test_the_whole_account_arrives(reader: StripeReader, warehouse: Connection) -> None:
    rows = {
        table: count for result in load_all(reader, warehouse) for table, count in result.items()
    }
    assert rows == {
        "subscriptions": 2,
        "subscription_items": 25,
        "invoices": 1,
        "invoice_lines": 16,
        "invoice_line_discounts": 14,
        "credit_notes": 1,
        "credit_note_lines": 1,
        "prices": 4,
        "price_currency_options": 5,
        "price_tiers": 3,
        "products": 1,
        "customers": 3,
        "discounts": 2,
        "coupons": 2,
        "meters": 2,
        "meter_errors": 0,
        "invoice_items": 1,
        "promotion_codes": 1,
        "subscription_schedules": 1,
        "subscription_schedule_phases": 2,
        "events": 1,
        "webhook_endpoints": 1,
        "charges": 2,
        "refunds": 1,
        "disputes": 1,
        "invoice_payments": 1,
        "payment_methods": 1,
        "customer_balance_transactions": 1,
        "features": 1,
        "active_entitlements": 1,
    }
    for table, count in rows.items():
        assert fetch(warehouse, f"select count(*) from raw_stripe.{table}") == [(count,)]  # noqa: S608


def test_prices_made_inline_are_retrieved_with_all_their_tiers(
    reader: StripeReader, warehouse: Connection
) -> None:
    load_all(reader, warehouse)
    assert fetch(
        warehouse,
        "select unit_amount_decimal, transform_divide_by from raw_stripe.prices "
        "where price_id = 'price_inline'",
    ) == [(Decimal("0.05"), 1000)]
    assert fetch(
        warehouse,
        "select currency, tier_index, up_to, unit_amount_decimal from raw_stripe.price_tiers "
        "order by 1, 2",
    ) == [
        ("eur", 0, None, Decimal("0.45")),
        ("usd", 0, Decimal(50), Decimal("0.5")),
        ("usd", 1, None, Decimal("1E-12")),
    ]


def test_what_was_deleted_is_kept_as_far_as_stripe_still_shows_it(
    reader: StripeReader, warehouse: Connection
) -> None:
    load_all(reader, warehouse)
    assert fetch(
        warehouse, "select customer_id, deleted, name from raw_stripe.customers order by 1"
    ) == [("cus_1", False, "Ann \ufffd"), ("cus_2", False, None), ("cus_gone", True, None)]
    assert fetch(
        warehouse,
        "select coupon_id, percent_off, amount_off from raw_stripe.coupons order by 1",
    ) == [("co_gone", None, 500), ("co_listed", Decimal("12.5"), None)]


def test_a_deleted_coupon_that_nothing_shows_is_named_as_missing(
    reader: StripeReader, warehouse: Connection
) -> None:
    load_all(reader, warehouse)
    with warehouse.cursor() as cursor:
        cursor.execute(
            """
            update raw_stripe.subscriptions
            set payload = jsonb_set(payload, '{discounts,0,source,coupon}', '"co_gone"');
            update raw_stripe.invoices
            set payload = jsonb_set(payload, '{discounts,0,source,coupon}', '"co_gone"')
            """
        )
    warehouse.commit()
    result = load.load_discounts(reader, warehouse, AS_OF)
    assert result["coupons"] == 1
    assert result.warnings == ["coupons: 1 of 1 referenced ids are not there: co_gone"]
    assert fetch(warehouse, "select coupon_id from raw_stripe.discounts order by 1") == [
        ("co_gone",),
        ("co_listed",),
    ]


def test_a_price_that_cannot_be_retrieved_is_taken_from_its_item(
    reader_of: ReaderOf, warehouse: Connection
) -> None:
    account = trap_account()
    account.inline_prices = []
    with StripeServer(account, now=AS_OF) as server:
        results = load_all(reader_of(server), warehouse)
    assert results[3]["prices"] == 4
    assert results[3].warnings == []
    assert fetch(
        warehouse,
        "select unit_amount_decimal from raw_stripe.prices where price_id = 'price_inline'",
    ) == [(Decimal("0.05"),)]


def test_a_line_of_a_pending_item_names_its_subscription_item(
    reader: StripeReader, warehouse: Connection
) -> None:
    load_all(reader, warehouse)
    assert fetch(
        warehouse,
        "select subscription_item_id from raw_stripe.invoice_lines where line_id = 'il_pending'",
    ) == [("si_0",)]


def test_the_total_of_finalised_invoices_is_reported_by_currency(
    reader_of: ReaderOf, warehouse: Connection
) -> None:
    account = trap_account()
    line = account.invoices[0]["lines"]["data"][0]
    account.invoices += [
        so.invoice(
            f"in_{status}",
            customer="cus_1",
            currency="usd",
            created=JAN,
            lines=[line | {"id": f"il_{status}"}],
            status=status,
        )
        for status in ("draft", "void")
    ]
    with StripeServer(account, now=AS_OF) as server:
        reader = reader_of(server)
        load.load_subscriptions(reader, warehouse, AS_OF)
        result = load.load_invoices(reader, warehouse, AS_OF)
    assert result["invoices"] == 3
    assert result.totals == {"usd": 130260}


# ---------------------------------------------------------------- again and again


def test_a_second_run_changes_nothing(reader: StripeReader, warehouse: Connection) -> None:
    load_all(reader, warehouse)
    before = contents(warehouse)
    load_all(reader, warehouse)
    assert contents(warehouse) == before


def test_faults_leave_no_trace_in_the_tables(
    stripe_server: StripeServer, reader: StripeReader, reader_of: ReaderOf, warehouse: Connection
) -> None:
    load_all(reader, warehouse)
    before = contents(warehouse)
    stripe_server.set_faults(Faults(seed=11, rate_429=0.1, rate_500=0.15, rate_cut=0.15))
    troubled = reader_of(stripe_server)
    load_all(troubled, warehouse)
    assert contents(warehouse) == before
    assert troubled.retries.total() > 0


def test_a_load_that_breaks_off_leaves_the_old_rows(
    stripe_server: StripeServer, reader: StripeReader, reader_of: ReaderOf, warehouse: Connection
) -> None:
    load_all(reader, warehouse)
    before = contents(warehouse)
    stripe_server.script(ScriptedFault("/v1/invoices/in_1/lines", status=500, times=99))
    with pytest.raises(TransientFailure):
        load.load_invoices(reader_of(stripe_server, max_attempts=2), warehouse, AS_OF)
    assert contents(warehouse) == before


def test_rows_that_are_gone_from_stripe_are_gone_here(
    stripe_server: StripeServer, reader: StripeReader, warehouse: Connection
) -> None:
    load_all(reader, warehouse)
    account = trap_account()
    account.invoices = []
    stripe_server.load(account)
    load_all(reader, warehouse)
    assert fetch(warehouse, "select count(*) from raw_stripe.invoice_lines") == [(0,)]
    assert fetch(warehouse, "select count(*) from raw_stripe.subscriptions") == [(2,)]


def test_a_past_instant_sees_only_what_there_was(
    reader: StripeReader, warehouse: Connection
) -> None:
    march = datetime(2026, 3, 1, tzinfo=UTC)
    for one in LOADS:
        one(reader, warehouse, march)
    assert fetch(warehouse, "select count(*) from raw_stripe.invoices") == [(0,)]
    assert fetch(warehouse, "select count(*) from raw_stripe.subscriptions") == [(2,)]
    assert fetch(warehouse, "select distinct synced_at from raw_stripe.prices") == [(march,)]


# ---------------------------------------------------------------- what may not be read


@pytest.mark.parametrize(
    ("denied", "name", "empty"),
    [
        ("/v1/credit_notes", "credit_notes", ("credit_notes", "credit_note_lines")),
        ("/v1/billing/meters", "meters", ("meters",)),
        ("/v1/invoiceitems", "invoice_items", ()),
    ],
)
def test_an_optional_object_that_is_forbidden_is_a_gap_and_not_zero(
    denied: str,
    name: str,
    empty: tuple[str, ...],
    stripe_server: StripeServer,
    reader: StripeReader,
    warehouse: Connection,
) -> None:
    stripe_server.deny(denied)
    warnings = [warning for result in load_all(reader, warehouse) for warning in result.warnings]
    statuses = {status.object: status for status in read_sync_status(warehouse)}
    assert (statuses[name].status, statuses[name].rows) == ("forbidden", 0)
    assert "read permission" in (statuses[name].detail or "")
    assert not statuses[name].complete
    assert [warning for warning in warnings if warning.startswith(f"{name}: ")]
    assert [s.object for s in statuses.values() if not s.complete] == [name]
    for table in empty:
        assert fetch(warehouse, f"select count(*) from raw_stripe.{table}") == [(0,)]  # noqa: S608


def test_without_coupons_those_inside_discounts_remain(
    stripe_server: StripeServer, reader: StripeReader, warehouse: Connection
) -> None:
    stripe_server.deny("/v1/coupons")
    load_all(reader, warehouse)
    assert fetch(warehouse, "select coupon_id from raw_stripe.coupons order by 1") == [
        ("co_gone",),
        ("co_listed",),
    ]
    statuses = {status.object: status for status in read_sync_status(warehouse)}
    assert statuses["coupons"].status == "forbidden"


def test_a_gap_closes_once_the_permission_is_there(
    stripe_server: StripeServer, reader: StripeReader, warehouse: Connection
) -> None:
    stripe_server.script(ScriptedFault("/v1/credit_notes", status=404))
    load.load_credit_notes(reader, warehouse, AS_OF)
    assert [status.status for status in read_sync_status(warehouse)] == ["missing"]
    load.load_credit_notes(reader, warehouse, AS_OF)
    (status,) = read_sync_status(warehouse)
    assert (status.status, status.rows, status.detail) == ("ok", 1, None)


@pytest.mark.parametrize(
    ("denied", "one"),
    [
        ("/v1/subscriptions", load.load_subscriptions),
        ("/v1/invoices", load.load_invoices),
        ("/v1/prices", load.load_catalog),
        ("/v1/products", load.load_catalog),
        ("/v1/customers", load.load_customers),
    ],
)
def test_without_a_core_object_there_is_no_audit_and_nothing_is_written(
    denied: str,
    one: Callable[..., load.LoadResult],
    stripe_server: StripeServer,
    reader: StripeReader,
    warehouse: Connection,
) -> None:
    load_all(reader, warehouse)
    before = contents(warehouse)
    stripe_server.deny(denied)
    with pytest.raises(EndpointForbidden, match="STRIPE_API_KEY"):
        one(reader, warehouse, AS_OF)
    assert contents(warehouse) == before


def test_an_object_of_the_wrong_type_ends_the_load_and_nothing_is_written(
    stripe_server: StripeServer, reader: StripeReader, warehouse: Connection
) -> None:
    load_all(reader, warehouse)
    before = contents(warehouse)
    account = trap_account()
    account.customers[0]["balance"] = "a lot"
    stripe_server.load(account)
    with pytest.raises(PermanentFailure, match="customers cus_1: balance"):
        load.load_customers(reader, warehouse, AS_OF)
    assert contents(warehouse) == before

"""Whom a night prices: those who changed, of whom time has passed, and everybody if it must."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg2.extensions
import pytest
from psycopg2 import sql
from sqlalchemy.engine import make_url

from leakage_pipeline.defs.transform.project import PROJECT_DIR
from leakage_pipeline.nights import night
from leakage_pipeline.nights.ownership import FIXED, GROWING, OWNED, PAYLOAD_KEYS
from leakage_pipeline.warehouse import schemas
from leakage_pipeline.warehouse.connection import connect
from leakage_pipeline.warehouse.schemas import table_specs

AS_OF = datetime(2026, 11, 20, 6, tzinfo=UTC)
LATER = AS_OF + timedelta(days=1)

# What the models of the last build left, as far as nights read it.
_MODELS = """
    create table intermediate.int_periods__usage_cuts (customer_id text, cut_at timestamptz);
    create table intermediate.int_findings__judged (customer_id text);
    create table intermediate.int_usage__gaps (charge_id text);
    create table intermediate.int_terms__metered_terms (charge_id text, customer_id text);
    create table intermediate.int_bridge__commitments (customer_id text, span_end timestamptz);
    create table intermediate.int_terms__price_plans (price_id text, plan_key text);
    create table intermediate.int_accounts__reconciliation (
        customer_id text, subscription_id text, verdict text, is_live boolean
    );
    insert into intermediate.int_accounts__reconciliation
    select 'cus_' || n, 'sub_' || n, 'agreed', true from generate_series(1, 99) as numbers (n);
    insert into raw_business.audit_settings (
        singleton, as_of, invoice_grace_days, payment_grace_days, finalization_delay_hours
    ) values (1, '2026-11-20 06:00+00', 3, 14, 1);
    insert into raw_stripe.prices (price_id, unit_amount_decimal, usage_type)
    values ('price_a', 100, 'licensed');
    insert into raw_stripe.customers (customer_id, email)
    select 'cus_' || n, 'mail' || n from generate_series(1, 9) as numbers (n);
    insert into raw_stripe.subscriptions (subscription_id, customer_id)
    select 'sub_' || n, 'cus_' || n from generate_series(1, 9) as numbers (n);
    insert into raw_stripe.subscription_items (
        subscription_item_id, subscription_id, price_id, quantity
    )
    select 'si_' || n, 'sub_' || n, 'price_a', 2 from generate_series(1, 9) as numbers (n);
    insert into raw_usage.usage_windows (customer_id, meter, source, window_start, quantity_sum)
    select 'cus_' || n, 'api', '', '2026-11-01', 5 from generate_series(1, 9) as numbers (n);
    insert into raw_usage.log_coverage (meter, first_event_at) values ('api', '2026-01-01');
    insert into raw_business.accounts (account_id, updated_at, customer_id, seats)
    values ('acc_1', '2026-01-01', 'cus_1', 3);
    insert into raw_business.contracts (contract_id, customer_id) values ('c_7', 'cus_7');
"""


@pytest.fixture(scope="module")
def first_audit(module_database_url: str) -> str:
    """URL of a warehouse whose first build has ended; each test has a copy of it."""
    conn = connect(module_database_url)
    schemas.create_all(conn)
    _run(conn, _MODELS)
    assert night.begin(conn, AS_OF, "v1", full_refresh=False).reason == "the first audit"
    _end(conn, AS_OF)
    conn.close()
    return module_database_url


@pytest.fixture
def built(server_url: str, first_audit: str) -> Iterator[psycopg2.extensions.connection]:
    """A warehouse whose first build has ended."""
    template = make_url(first_audit).database or ""
    name = f"{template}_copy"
    _administer(
        server_url,
        sql.SQL("create database {} template {}").format(
            sql.Identifier(name), sql.Identifier(template)
        ),
    )
    conn = connect(make_url(server_url).set(database=name).render_as_string(hide_password=False))
    yield conn
    conn.close()
    _administer(server_url, sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def _administer(url: str, statement: sql.Composed) -> None:
    conn = connect(url)
    conn.autocommit = True
    with conn.cursor() as cursor:
        cursor.execute(statement)
    conn.close()


def _run(conn: psycopg2.extensions.connection, statement: str) -> None:
    with conn.cursor() as cursor:
        cursor.execute(statement)
    conn.commit()


def _tonight(conn: psycopg2.extensions.connection, as_of: datetime = AS_OF) -> list[str]:
    begun = night.begin(conn, as_of, "v1", full_refresh=False)
    assert begun.reason == ""
    return _customers(conn)


def _end(conn: psycopg2.extensions.connection, as_of: datetime) -> None:
    night.add_users(conn)
    night.end(conn, as_of)


def _customers(conn: psycopg2.extensions.connection) -> list[str]:
    with conn.cursor() as cursor:
        cursor.execute("select customer_id from night.customers order by 1")
        return [customer for (customer,) in cursor]


def _reason(conn: psycopg2.extensions.connection, as_of: datetime = AS_OF, code: str = "v1") -> str:
    return night.begin(conn, as_of, code, full_refresh=False).reason


def test_nobody_is_priced_when_nothing_changed(built: psycopg2.extensions.connection) -> None:
    assert _tonight(built, LATER) == []
    assert night.add_users(built) == 0


@pytest.mark.parametrize(
    "change",
    [
        "update raw_stripe.subscription_items set quantity = 3 where subscription_id = 'sub_3'",
        "update raw_stripe.customers set payload = '{}', name = 'x' where customer_id = 'cus_3'",
        "delete from raw_stripe.subscription_items where subscription_id = 'sub_3'",
        "insert into raw_business.contracts (contract_id, customer_id) values ('c', 'cus_3')",
        "insert into raw_stripe.invoices (invoice_id, customer_id) values ('in_1', 'cus_3')",
        "insert into raw_business.exceptions (exception_id, customer_id) values ('x', 'cus_3')",
        "delete from raw_stripe.customers where customer_id = 'cus_3'",
    ],
)
def test_who_has_a_row_that_changed_is_priced(
    built: psycopg2.extensions.connection, change: str
) -> None:
    _run(built, change)
    assert _tonight(built) == ["cus_3"]


_USE = "update raw_usage.usage_windows set quantity_sum = 6"
_WRITTEN = "insert into ops.usage_written values"


def test_what_a_load_writes_beside_the_facts_is_no_change(
    built: psycopg2.extensions.connection,
) -> None:
    _run(
        built,
        "update raw_stripe.subscriptions set synced_at = now(), stripe_version = 'x',"
        " payload = '{}';"
        "update raw_usage.log_coverage set as_of = now(), last_event_at = now(), event_count = 9",
    )
    assert _tonight(built) == []
    assert night.add_users(built) == 0


def test_usage_is_known_after_the_periods(built: psycopg2.extensions.connection) -> None:
    assert _tonight(built) == []
    _run(built, f"{_USE} where customer_id = 'cus_4'; {_WRITTEN} ('cus_4'), ('cus_5')")
    assert night.add_users(built) == 1
    assert _customers(built) == ["cus_4"]
    with built.cursor() as cursor:
        cursor.execute("select customer_id, quantity_sum from night_raw_usage.usage_windows")
        assert cursor.fetchall() == [("cus_4", 6)]
        cursor.execute("select subscription_item_id from night_raw_stripe.subscription_items")
        assert cursor.fetchall() == [("si_4",)]


def test_only_usage_that_a_load_has_written_is_compared(
    built: psycopg2.extensions.connection,
) -> None:
    """What was taken note of once stays known, also when the build did not end."""
    assert _tonight(built) == []
    _run(built, f"{_USE} where customer_id in ('cus_4', 'cus_5')")
    assert night.add_users(built) == 0
    _run(built, f"{_WRITTEN} ('cus_4')")
    assert night.add_users(built) == 1
    assert _tonight(built, LATER) == ["cus_4"]
    _end(built, LATER)
    assert _tonight(built, LATER + timedelta(hours=1)) == []
    _run(built, f"{_WRITTEN} ('')")
    night.add_users(built)
    assert _customers(built) == ["cus_5"]


def test_an_account_that_moves_concerns_both_customers(
    built: psycopg2.extensions.connection,
) -> None:
    _run(
        built,
        "insert into raw_business.accounts (account_id, updated_at, customer_id, seats)"
        " values ('acc_1', '2026-11-19', 'cus_2', 3)",
    )
    assert _tonight(built) == ["cus_1", "cus_2"]
    with built.cursor() as cursor:
        cursor.execute("select count(*) from night_raw_business.accounts")
        assert cursor.fetchone() == (2,)


def test_a_period_that_ends_changes_its_customer(built: psycopg2.extensions.connection) -> None:
    """An hour after its end it is closed: between the two builds, though no row changed."""
    _run(
        built,
        "insert into intermediate.int_periods__usage_cuts values"
        " ('cus_5', '2026-11-20 05:30+00'), ('cus_6', '2026-11-21 05:30+00'),"
        " ('cus_7', '2026-11-21 06:30+00'), ('cus_8', '2026-11-17 12:00+00')",
    )
    assert _tonight(built, LATER) == ["cus_5", "cus_6", "cus_8"]


def test_who_has_a_finding_or_a_gap_is_looked_at_every_night(
    built: psycopg2.extensions.connection,
) -> None:
    _run(
        built,
        "insert into intermediate.int_findings__judged values ('cus_1'), (null);"
        "insert into intermediate.int_usage__gaps values ('charge');"
        "insert into intermediate.int_terms__metered_terms values ('charge', 'cus_2')",
    )
    night.begin(built, AS_OF, "v1", full_refresh=True)
    _end(built, AS_OF)
    assert _tonight(built) == ["cus_1", "cus_2"]


def test_whom_a_killed_night_left_half_done_is_priced_again(
    built: psycopg2.extensions.connection,
) -> None:
    """Also when their rows are by then as they were before."""
    _run(built, "update raw_stripe.subscription_items set quantity = 3")
    assert len(_tonight(built, LATER)) == 9
    _run(built, "update raw_stripe.subscription_items set quantity = 2")
    assert len(_tonight(built, LATER)) == 9
    _end(built, LATER)
    assert _tonight(built, LATER) == []


def test_an_instant_that_is_audited_again_is_in_no_snapshot(
    built: psycopg2.extensions.connection,
) -> None:
    """So the next audit looks once more at those who changed in between, and at nobody else."""
    _run(built, "update raw_stripe.subscription_items set quantity = 3 where quantity = 2")
    assert len(_tonight(built)) == 9
    _end(built, AS_OF)
    assert len(_tonight(built)) == 9
    _end(built, AS_OF)
    assert len(_tonight(built, LATER)) == 9
    _end(built, LATER)
    assert _tonight(built, LATER) == []


def test_a_full_build_that_was_killed_is_made_again(built: psycopg2.extensions.connection) -> None:
    night.begin(built, AS_OF, "v1", full_refresh=True)
    assert _reason(built) == "the last one was cut off"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("update raw_stripe.prices set unit_amount_decimal = 90", "prices changed"),
        ("delete from raw_stripe.prices", "prices changed"),
        ("insert into raw_business.price_book (price_book_id) values ('b')", "price book changed"),
        (
            "insert into raw_business.term_meters values ('price_book', 'b', 'm')",
            "term meters changed",
        ),
        ("update raw_business.audit_settings set min_amount = 5", "audit settings changed"),
        (
            "update raw_business.audit_settings set rollout_max_customers = 5",
            "the number of customers is limited",
        ),
    ],
)
def test_everybody_is_priced_when_something_shared_changed(
    built: psycopg2.extensions.connection, change: str, reason: str
) -> None:
    _run(built, change)
    assert _reason(built) == reason


def test_a_price_that_nobody_is_on_changes_nothing(built: psycopg2.extensions.connection) -> None:
    _run(built, "insert into raw_stripe.prices (price_id) values ('price_new')")
    _run(built, "update raw_business.audit_settings set as_of = as_of + interval '1 day'")
    assert _tonight(built) == []


def test_other_models_or_an_earlier_instant_price_everybody(
    built: psycopg2.extensions.connection,
) -> None:
    assert _reason(built, AS_OF - timedelta(days=1)) == "an audit of a later instant came before"
    _end(built, AS_OF - timedelta(days=1))
    # That audit took no snapshots, so the one after it prices everybody too.
    assert _reason(built, LATER) == "an audit of a later instant came before"
    _end(built, LATER)
    assert _reason(built, LATER) == ""
    assert _reason(built, LATER, code="v2") == "the models changed"


def test_a_part_of_the_job_that_is_run_by_hand_ends_no_night(
    built: psycopg2.extensions.connection,
) -> None:
    _run(built, "update raw_stripe.customers set name = 'new' where customer_id = 'cus_3'")
    _end(built, LATER)
    assert _tonight(built, LATER) == ["cus_3"]


def test_everybody_is_priced_once_a_week(built: psycopg2.extensions.connection) -> None:
    assert _reason(built, AS_OF + timedelta(days=6, hours=23)) == ""
    _end(built, AS_OF + timedelta(days=6, hours=23))
    assert _reason(built, AS_OF + timedelta(days=7)) == "once a week"


def test_a_meter_that_the_log_shows_for_the_first_time_concerns_everybody(
    built: psycopg2.extensions.connection,
) -> None:
    assert _tonight(built) == []
    _run(built, "insert into raw_usage.log_coverage (meter, first_event_at) values ('m', now())")
    assert night.add_users(built) == 9


def test_what_the_models_ask_about_everybody_concerns_everybody(
    built: psycopg2.extensions.connection,
) -> None:
    """The last contract, the last account, and a plan that nobody buys twice any more."""
    name = "the first or last contract, account or plan sold by the seat came or went"
    for change in (
        "delete from raw_business.contracts",
        "delete from raw_business.accounts",
        "update raw_stripe.subscription_items set quantity = 1",
    ):
        _run(built, change)
        assert _reason(built) == name
        _end(built, AS_OF)


def test_families_are_priced_together(built: psycopg2.extensions.connection) -> None:
    """By an account that a subscription names, by an e-mail; also who left the family tonight."""
    _run(
        built,
        "update raw_stripe.customers set email = ' MAIL1 ' where customer_id = 'cus_8';"
        "update raw_stripe.subscriptions set account_id = 'acc_1' where customer_id = 'cus_9'",
    )
    assert _tonight(built, LATER) == ["cus_1", "cus_8", "cus_9"]
    _end(built, LATER)
    assert _tonight(built, LATER) == []
    _run(built, "update raw_stripe.customers set email = 'z' where customer_id = 'cus_8'")
    assert _tonight(built, LATER) == ["cus_1", "cus_8", "cus_9"]
    assert night.told(built) == (
        "Priced 3 of 9 customers: 2 for a family member who is priced, 1 for changed rows."
    )


def test_an_account_without_a_customer_is_priced_every_night(
    built: psycopg2.extensions.connection,
) -> None:
    _run(
        built,
        "insert into raw_business.accounts (account_id, updated_at) values ('acc_x', '2026-01-01');"
        "update raw_stripe.subscriptions set account_id = 'acc_x' where customer_id = 'cus_2'",
    )
    assert _tonight(built, LATER) == ["acc_x", "cus_2"]
    _end(built, LATER)
    assert _tonight(built, LATER) == ["acc_x", "cus_2"]


def test_whom_we_sent_a_correction_is_priced_every_night(
    built: psycopg2.extensions.connection,
) -> None:
    _run(
        built,
        "insert into ops.recovery_actions (action_id, detection_id, action, mode, status,"
        " idempotency_key, created_at, customer_id, subscription_id) values"
        " ('a', 'd', 'invoice_item', 'dry_run', 'planned', 'a', now(), 'cus_4', null),"
        " ('b', 'e', 'invoice_item', 'dry_run', 'planned', 'b', now(), null, 'sub_5')",
    )
    assert _tonight(built, LATER) == ["cus_4", "cus_5"]


def test_a_charge_without_a_customer_belongs_to_the_invoice_that_it_pays(
    built: psycopg2.extensions.connection,
) -> None:
    _run(
        built,
        "insert into raw_stripe.invoices (invoice_id, customer_id) values ('in_1', 'cus_2');"
        "insert into raw_stripe.invoice_payments (invoice_payment_id, invoice_id,"
        " payment_intent_id) values ('inpay_1', 'in_1', 'pi_1');"
        "insert into raw_stripe.charges (charge_id, payment_intent_id) values ('ch_1', 'pi_1')",
    )
    assert _tonight(built, LATER) == ["cus_2"]
    _end(built, LATER)
    _run(
        built,
        "insert into raw_stripe.refunds (refund_id, charge_id) values ('re_1', 'ch_1'),"
        " ('re_2', 'ch_of_a_guest')",
    )
    assert _tonight(built, LATER) == ["cus_2"]
    with built.cursor() as cursor:
        cursor.execute("select refund_id from night_raw_stripe.refunds order by 1")
        assert cursor.fetchall() == [("re_1",), ("re_2",)]


def test_a_row_that_should_lead_to_a_customer_and_does_not_concerns_everybody(
    built: psycopg2.extensions.connection,
) -> None:
    _run(built, "insert into raw_stripe.invoice_lines (line_id, invoice_id) values ('il', 'in_x')")
    assert _reason(built) == "rows that lead to no customer changed"


def test_nobody_guesses_whether_the_accounts_file_is_whole(
    built: psycopg2.extensions.connection,
) -> None:
    """Near one half, those who change tonight could turn what is said of everybody else."""
    _run(
        built,
        "update intermediate.int_accounts__reconciliation set verdict = 'no_account'"
        " where right(subscription_id, 1) in ('1', '3', '5', '7', '9')",
    )
    assert _reason(built) == ""
    _run(built, "update raw_stripe.customers set name = 'new' where customer_id = 'cus_1'")
    assert _reason(built) == "about half of the customers have an account"


def test_every_raw_table_is_owned_or_shared_on_purpose() -> None:
    """A new table of customers that nobody names here would be copied whole and never noticed."""
    unnoticed = {
        "raw_business.fx_rates",  # only findings are valued; their customers are looked at anyway
        "raw_stripe.features",  # of no customer: entitlements name them by their key
        "raw_stripe.meter_event_summaries",  # answers to this build's own questions
        "raw_stripe.meter_errors",  # of no customer: told beside findings that stand
        "raw_stripe.promotion_codes",  # explain discounts that stand on lines already
        "raw_stripe.sync_status",  # told as it is, every night
        "raw_stripe.webhook_endpoints",  # of no customer
        "raw_usage.unattributed_usage",  # of no customer: judged anew every night
    }
    raw = {f"{spec.schema}.{spec.name}" for spec in table_specs() if spec.schema[:4] == "raw_"}
    named = {".".join(key) for key in (*OWNED, *GROWING, *FIXED)}
    assert raw - named == unnoticed
    assert named <= raw


def test_what_staging_reads_out_of_a_payload_is_counted() -> None:
    """The rest of a payload differs from read to read and is not."""
    staging = PROJECT_DIR / "models/staging/stripe"
    read = {
        ("raw_stripe", path.stem.removeprefix("stg_stripe__"))
        for path in staging.glob("*.sql")
        if "payload" in path.read_text(encoding="utf-8")
    }
    assert read == set(PAYLOAD_KEYS)
    for (_, name), keys in PAYLOAD_KEYS.items():
        text = (staging / f"stg_stripe__{name}.sql").read_text(encoding="utf-8")
        assert set(re.findall(r"payload\W+(\w+)", text)) == set(keys)

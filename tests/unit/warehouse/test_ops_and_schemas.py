"""The schemas and the state that outlives a rebuild."""

import os
import pwd
from datetime import UTC, datetime

import psycopg2
import psycopg2.extensions
import pytest

from leakage_pipeline.stripe_billing import tables as stripe_tables
from leakage_pipeline.warehouse import ops, schemas
from leakage_pipeline.warehouse.ops import RejectedRow

Connection = psycopg2.extensions.connection
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = datetime(2026, 1, 2, tzinfo=UTC)

# The public contract: other people's queries are written against these.
OPS_COLUMNS = {
    "detection_state": "detection_id status assignee note updated_by updated_at",
    "classifications": (
        "detection_id category next_action confidence rationale draft_subject draft_body "
        "classifier prompt_hash created_at"
    ),
    "rejected_rows": "source location payload reason first_seen_at",
    "detection_sightings": "detection_id first_detected_at last_detected_at",
    "audit_log": "actor action subject before after at os_user",
    "recovery_actions": "detection_id",
    "stripe_events": "event_id",
    "dead_letters": "event_id",
}


def test_no_table_of_a_domain_is_forgotten() -> None:
    named = {(spec.schema, spec.name) for spec in stripe_tables.TABLES}
    assert named <= {(spec.schema, spec.name) for spec in schemas.table_specs()}


def test_every_table_is_there_empty_and_a_second_time_changes_nothing(conn: Connection) -> None:
    schemas.create_all(conn)
    schemas.create_all(conn)
    specs = schemas.table_specs()
    assert {"raw_stripe", "raw_usage", "raw_business"} <= {spec.schema for spec in specs}
    with conn.cursor() as cursor:
        for spec in specs:
            cursor.execute(f"select count(*) from {spec.schema}.{spec.name}")  # noqa: S608
            assert cursor.fetchone() == (0,)


@pytest.mark.parametrize(("table", "columns"), OPS_COLUMNS.items())
def test_ops_has_the_contracts_columns(warehouse: Connection, table: str, columns: str) -> None:
    with warehouse.cursor() as cursor:
        cursor.execute(
            "select column_name from information_schema.columns "
            "where table_schema = 'ops' and table_name = %s",
            (table,),
        )
        assert set(columns.split()) <= {row[0] for row in cursor.fetchall()}


def test_a_rejected_row_keeps_the_day_it_was_first_seen(warehouse: Connection) -> None:
    row = RejectedRow("contracts", "contracts.csv:7", "a\x00b", "no effective_date", FIRST)
    again = RejectedRow("contracts", "contracts.csv:7", "a\x00b", "no effective_date", SECOND)
    other = RejectedRow("contracts", "contracts.csv:8", None, "no effective_date", SECOND)
    assert ops.record_rejected(warehouse, [row]) == 1
    assert ops.record_rejected(warehouse, [again, other]) == 1
    assert ops.record_rejected(warehouse, []) == 0
    with warehouse.cursor() as cursor:
        cursor.execute("select location, payload, first_seen_at from ops.rejected_rows order by 1")
        assert cursor.fetchall() == [
            ("contracts.csv:7", "a\N{REPLACEMENT CHARACTER}b", FIRST),
            ("contracts.csv:8", None, SECOND),
        ]


@pytest.mark.parametrize(
    "statement", ["update ops.audit_log set actor = 'x'", "delete from ops.audit_log"]
)
def test_the_audit_log_is_append_only(warehouse: Connection, statement: str) -> None:
    with warehouse.cursor() as cursor:
        cursor.execute(
            "insert into ops.audit_log (actor, action, subject, at) values ('a', 'b', 'c', now())"
        )
        warehouse.commit()
        with pytest.raises(psycopg2.errors.RaiseException, match="append-only"):
            cursor.execute(statement)


def test_a_status_that_is_none_is_refused(warehouse: Connection) -> None:
    with warehouse.cursor() as cursor, pytest.raises(psycopg2.errors.CheckViolation):
        cursor.execute("insert into ops.detection_state values ('d', 'maybe', '', '', '', now())")


def test_a_simulated_companys_tables_can_be_dropped(warehouse: Connection) -> None:
    schemas.drop_all(warehouse)
    with warehouse.cursor() as cursor:
        cursor.execute(
            "select nspname from pg_namespace where nspname !~ '^(pg_|information_schema|public)'"
        )
        assert cursor.fetchall() == [("dagster",)]
    schemas.create_all(warehouse)


def test_the_audit_log_keeps_the_account_that_ran_the_process(warehouse: Connection) -> None:
    """Whatever name somebody goes by, and whatever the environment says."""
    with warehouse, warehouse.cursor() as cursor:
        cursor.execute(
            "insert into ops.audit_log (actor, action, subject, at)"
            " values ('ann', 'tested', 'x', now()) returning os_user"
        )
        assert cursor.fetchone() == (pwd.getpwuid(os.getuid()).pw_name,)

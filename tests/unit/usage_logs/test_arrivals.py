"""When usage without `received_at` reached the log: the first audit that saw it says so."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg2.extensions
import pytest

from leakage_pipeline.settings import Settings
from leakage_pipeline.usage_logs.load import load_usage
from tests.unit.usage_logs.conftest import AS_OF, CUT

Warehouse = psycopg2.extensions.connection
HEADER = "event_id,customer_id,meter,value,occurred_at"
NEXT_DAY = AS_OF + timedelta(days=1)
LATER = AS_OF + timedelta(days=2)


@pytest.fixture
def audit(
    known: Warehouse, settings_for: Callable[..., Settings], tmp_path: Path
) -> Callable[..., None]:
    """One load of these rows at an instant."""

    def run(as_of: datetime, *rows: str, header: str = HEADER) -> None:
        (tmp_path / "log.csv").write_text("\n".join([header, *rows]))
        load_usage(settings_for([{"name": "log", "kind": "files", "uri": "log.csv"}]), known, as_of)

    return run


def noted(conn: Warehouse) -> list[tuple[str, datetime, datetime, int, Decimal]]:
    with conn.cursor() as cursor:
        cursor.execute(
            "select customer_id, window_start, seen_at, event_count, quantity_sum"
            " from raw_usage.late_arrivals order by 1, 2, 3"
        )
        return cursor.fetchall()


def at(day: int) -> datetime:
    return datetime(2026, 5, day, tzinfo=UTC)


def test_all_that_the_first_audit_sees_counts_as_known_in_time(
    audit: Callable[..., None], known: Warehouse
) -> None:
    audit(AS_OF, "1,cus_1,calls,5,2026-05-02", "2,cus_1,calls,5,2026-05-20")
    assert noted(known) == []


def test_what_an_earlier_audit_had_not_seen_is_noted_with_the_audit_that_did(
    audit: Callable[..., None], known: Warehouse
) -> None:
    first = "1,cus_1,calls,5,2026-05-02"
    audit(AS_OF, first)
    audit(NEXT_DAY, first, "2,cus_1,calls,7,2026-05-02T10:00", "3,cus_1,calls,1,2026-05-10")
    expected = [
        ("cus_1", at(2), NEXT_DAY, 1, Decimal(7)),
        ("cus_1", at(10), NEXT_DAY, 1, Decimal(1)),
    ]
    assert noted(known) == expected
    # Said once: the night after finds nothing new, and the same night again neither.
    rows = (first, "2,cus_1,calls,7,2026-05-02T10:00", "3,cus_1,calls,1,2026-05-10")
    audit(NEXT_DAY, *rows)
    audit(LATER, *rows)
    assert noted(known) == expected


def test_a_window_that_was_not_over_could_not_be_known(
    audit: Callable[..., None], known: Warehouse
) -> None:
    audit(AS_OF, "1,cus_1,calls,5,2026-06-01T02:00")
    audit(NEXT_DAY, "1,cus_1,calls,5,2026-06-01T02:00", "2,cus_1,calls,5,2026-06-01T20:00")
    assert noted(known) == []


def test_a_received_at_speaks_for_itself(audit: Callable[..., None], known: Warehouse) -> None:
    header = f"{HEADER},received_at"
    audit(AS_OF, "1,cus_1,calls,5,2026-05-02,2026-05-02", header=header)
    more = "2,cus_1,calls,5,2026-05-02,2026-05-03"
    audit(NEXT_DAY, "1,cus_1,calls,5,2026-05-02,2026-05-02", more, header=header)
    assert noted(known) == []


def test_an_account_that_was_mapped_since_brings_no_late_usage(
    audit: Callable[..., None], known: Warehouse
) -> None:
    audit(AS_OF, "1,acc_new,calls,5,2026-05-02")
    with known.cursor() as cursor:
        cursor.execute(
            "insert into raw_business.accounts (account_id, updated_at, customer_id)"
            " values ('acc_new', '2026-05-01', 'cus_1')"
        )
    known.commit()
    audit(NEXT_DAY, "1,acc_new,calls,5,2026-05-02")
    assert noted(known) == []


def test_a_day_that_billing_cuts_anew_has_not_grown(
    audit: Callable[..., None], known: Warehouse
) -> None:
    rows = ("1,cus_1,calls,5,2026-05-20T01:00", "2,cus_1,calls,7,2026-05-20T20:00")
    audit(AS_OF, *rows)
    with known.cursor() as cursor:
        cursor.execute(
            "insert into intermediate.int_periods__usage_cuts values ('cus_1', %s)",
            (CUT + timedelta(days=16),),
        )
    known.commit()
    audit(NEXT_DAY, *rows)
    assert noted(known) == []


def test_a_past_day_audited_again_forgets_nothing(
    audit: Callable[..., None], known: Warehouse
) -> None:
    audit(AS_OF, "1,cus_1,calls,5,2026-05-02")
    rows = ("1,cus_1,calls,5,2026-05-02", "2,cus_1,calls,7,2026-05-02T10:00")
    audit(NEXT_DAY, *rows)
    audit(at(15), *rows)
    audit(LATER, *rows)
    assert noted(known) == [("cus_1", at(2), NEXT_DAY, 1, Decimal(7))]

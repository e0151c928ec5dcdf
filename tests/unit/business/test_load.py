"""Business files as people write them, from the file to the tables and the rejected rows."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2.extensions
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from leakage_pipeline.business.load import (
    load_accounts,
    load_exceptions,
    load_fx_rates,
    load_terms,
)
from leakage_pipeline.failures import ConfigurationError, TransientFailure
from leakage_pipeline.settings import Settings
from tests.unit.business.conftest import AS_OF, Query

Build = Callable[..., Settings]
Warehouse = psycopg2.extensions.connection
# As a spreadsheet writes it: byte-order mark, other order, blanks and capitals, an extra column,
# a field with line breaks and doubled quotes, semicolons.
SPREADSHEET = (
    "\ufeffCustomer_ID ; Contract ID;Notes;base_price;currency;interval;overage_rates;"
    "effective_date;end_date;grandfathered;discount_threshold\r\n"
    'cus_1;c1;"two\nlines; ""quoted""";149,00;USD;month;;2026-01-01;;;\r\n'
    'cus_1;c2;;149.00;USD;Month;"{""api_calls_per_1000"":\n 5.00}";2026-01-31T23:30:00-02:00;'
    "2026-12-31;Yes;\r\n"
    ' cus_2 ;c3;;1E2;eur;year;;2025-01-01;2025-12-31;0;"{""meter"": ""calls"", ""min"": 10}"\r\n'
)
REASONS = "annual_commitment, volume_discount, referral, negotiated"
UNKNOWN = "has an unknown shape: it needs"
THRESHOLD = '{"meter": ..., "min": ...}'
ACCOUNTS = "account_id,customer_id,plan,status,access_enabled,seats,features,updated_at"


def _rejected(query: Query) -> dict[str, str]:
    rows = query("select location, reason from ops.rejected_rows order by location, reason")
    return {row["location"]: row["reason"] for row in rows}


def test_contracts_from_a_spreadsheet(
    settings_of: Build, warehouse: Warehouse, query: Query, tmp_path: Path
) -> None:
    (tmp_path / "c.csv").write_text(SPREADSHEET, encoding="utf-8", newline="")
    result = load_terms(settings_of(contracts="c.csv"), warehouse, AS_OF)
    contracts = {row["contract_id"]: row for row in query("select * from raw_business.contracts")}
    assert set(contracts) == {"c2", "c3"}
    assert contracts["c2"]["base_price"] == Decimal("149.00")
    assert contracts["c2"]["effective_date"] == date(2026, 2, 1)
    assert contracts["c2"]["effective_from"] == datetime(2026, 2, 1, tzinfo=UTC)
    assert contracts["c2"]["effective_until"] == datetime(2027, 1, 1, tzinfo=UTC)
    assert contracts["c2"]["grandfathered"] is True
    assert contracts["c3"]["customer_id"] == "cus_2"
    assert contracts["c3"]["threshold_min"] == 10
    assert contracts["c3"]["base_price"] == 100
    assert query("select meter, divide_by, round_mode from raw_business.term_meters") == [
        {"meter": "api_calls", "divide_by": 1000, "round_mode": "up"}
    ]
    (tier,) = query("select * from raw_business.term_tiers")
    assert (tier["up_to"], tier["unit_amount"], tier["flat_amount"]) == (None, Decimal("5.00"), 0)
    assert _rejected(query) == {"c.csv:2": "base_price '149,00' is no number"}
    assert result["contracts"].read == 3
    assert result["price_book"].missing


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("contract_id", "", "missing contract_id"),
        ("effective_date", "soon", "effective_date 'soon' is no ISO 8601 date or time"),
        ("end_date", "2025-12-31", "end_date 2025-12-31 is before effective_date 2026-01-01"),
        ("discount_percent", "101", "discount_percent 101 is not between 0 and 100"),
        ("grace_percent", "-5", "grace_percent -5 is negative"),
        ("interval", "week", "interval 'week' is none of month, year"),
        ("discount_reason", "nice", f"discount_reason 'nice' is none of {REASONS}"),
        ("grandfathered", "maybe", "grandfathered 'maybe' is neither true nor false"),
        ("currency", "dollars", "currency 'dollars' is no currency code of three letters"),
        ("base_price", "NaN", "base_price 'NaN' is no number"),
        ("overage_rates", '{"a": {}}', f"overage_rates.a {UNKNOWN} price or tiers"),
        ("discount_threshold", '{"a": 5}', f"discount_threshold {UNKNOWN} {THRESHOLD}"),
        ("plan", "a\x00b", "holds a NUL character"),
    ],
)  # fmt: skip
def test_a_contract_that_contradicts_itself_is_set_aside(
    column: str,
    cell: str,
    reason: str,
    settings_of: Build,
    warehouse: Warehouse,
    query: Query,
    tmp_path: Path,
) -> None:
    names = [
        "contract_id", "customer_id", "plan", "base_price", "currency", "interval",
        "overage_rates", "grace_percent", "discount_percent", "discount_reason",
        "discount_threshold", "grandfathered", "effective_date", "end_date",
    ]  # fmt: skip
    good = dict.fromkeys(names) | {
        "contract_id": "c",
        "customer_id": "cus",
        "effective_date": "2026-01-01",
    }
    pq.write_table(
        pa.Table.from_pylist([good | {column: cell}, good | {"contract_id": "fine"}]),
        tmp_path / "c.parquet",
    )
    result = load_terms(settings_of(contracts="c.parquet"), warehouse, AS_OF)
    assert result["contracts"].rejected == {reason: 1}
    assert _rejected(query) == {"c.parquet:1": reason}
    assert query("select contract_id, plan from raw_business.contracts") == [
        {"contract_id": "fine", "plan": None}
    ]


def test_of_contradicting_rows_the_last_holds_and_of_equal_ones_one(
    settings_of: Build, warehouse: Warehouse, query: Query, tmp_path: Path
) -> None:
    (tmp_path / "c.csv").write_text(
        "contract_id,customer_id,effective_date,base_price\n"
        "a,cus,2026-01-01,1\na,cus,2026-01-01,2\nb,cus,2026-01-01,3\nb,cus,2026-01-01,3\n"
    )
    load_terms(settings_of(contracts="c.csv"), warehouse, AS_OF)
    prices = query("select contract_id, base_price from raw_business.contracts order by 1")
    assert [tuple(row.values()) for row in prices] == [("a", 2), ("b", 3)]
    assert _rejected(query) == {"c.csv:2": "duplicate: c.csv:3 has the same key and stands later"}


def test_a_record_of_another_width_is_set_aside(
    settings_of: Build, warehouse: Warehouse, query: Query, tmp_path: Path
) -> None:
    (tmp_path / "c.csv").write_text(
        "contract_id,customer_id,effective_date\n"
        'a,cus,2026-01-01\n\nb,cus\nc,"cus"x,2026-01-01\nd,cus,2026-01-01,,\ne,cus,2026-01-01,x\n'
    )
    result = load_terms(settings_of(contracts="c.csv"), warehouse, AS_OF)
    found = query("select contract_id from raw_business.contracts order by 1")
    assert [row["contract_id"] for row in found] == ["a", "d"]
    assert _rejected(query) == {
        "c.csv:4": "has 2 fields, the header has 3",
        "c.csv:5": "',' expected after '\"'",
        "c.csv:7": "has 4 fields, the header has 3",
    }
    assert result["contracts"].read == 5
    assert result["contracts"].rejected_share == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no file matches"),
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"contract_id,customer\n1,2\n", "has no columns customer_id, effective_date"),
        (b"contract_id,contract_id,customer_id,effective_date\n", "contract_id stands twice"),
        (b"contract_id,customer_id,effective_date\nz\xfcrich,c,2026-01-01\n", "no UTF-8 text"),
        ("contract_id,customer_id".encode("utf-16"), "no UTF-8 text"),
        (b'contract_id,customer_id,effective_date\na,b,"2026\nc,d,e\n', "line 2 opens a quote"),
        (b"contract_id,customer_id,effective_date\n<html>\n", "no readable CSV"),
    ],
)
def test_a_file_that_is_unreadable_as_a_whole_is_one_clear_message(
    content: bytes | None,
    message: str,
    settings_of: Build,
    warehouse: Warehouse,
    query: Query,
    tmp_path: Path,
) -> None:
    (tmp_path / "good.csv").write_text(
        "contract_id,customer_id,effective_date\nkept,cus,2026-01-01\n"
    )
    load_terms(settings_of(contracts="good.csv"), warehouse, AS_OF)
    if content is not None:
        (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_terms(settings_of(contracts="bad.csv"), warehouse, AS_OF)
    assert str(caught.value).startswith(f"{tmp_path}/leakage.yaml: sources.contracts: ")
    assert "\n" not in str(caught.value)
    assert [row["contract_id"] for row in query("select * from raw_business.contracts")] == ["kept"]


def test_a_broken_parquet_file_and_a_wrong_suffix(
    settings_of: Build, warehouse: Warehouse, tmp_path: Path
) -> None:
    (tmp_path / "c.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(ConfigurationError, match=r"c\.parquet cannot be read"):
        load_terms(settings_of(contracts="c.parquet"), warehouse, AS_OF)
    (tmp_path / "c.xlsx").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"ends in none of .*\.csv"):
        load_terms(settings_of(contracts="c.xlsx"), warehouse, AS_OF)


def test_the_price_book_with_features_from_parquet_lists(
    settings_of: Build, warehouse: Warehouse, query: Query, tmp_path: Path
) -> None:
    rows: dict[str, Any] = {
        "plan": ["Pro", "PRO", "Basic"],
        "currency": ["usd", "USD", "jpy"],
        "interval": ["month", "month", "month"],
        "base_price": [149.1, 149.2, 5000.0],
        "effective_from": [date(2023, 1, 1), date(2024, 1, 1), date(2024, 1, 1)],
        "features": [["sso"], ["sso", "audit log"], None],
        "seats_included": [1, 5, None],
        "included_usage": ['{"calls": 10}', None, None],
    }
    pq.write_table(pa.table(rows), tmp_path / "p.parquet")
    load_terms(settings_of(price_book="p.parquet"), warehouse, AS_OF)
    found = query("select * from raw_business.price_book order by effective_from, plan desc")
    assert [row["base_price"] for row in found] == [
        Decimal("149.1"),
        Decimal("149.2"),
        Decimal(5000),
    ]
    assert [row["features"] for row in found] == [["sso"], ["sso", "audit log"], None]
    assert [row["seats_included"] for row in found] == [1, 5, None]
    assert len({row["price_book_id"] for row in found}) == 3
    assert query("select term_kind, term_id, has_rate from raw_business.term_meters") == [
        {"term_kind": "price_book", "term_id": found[0]["price_book_id"], "has_rate": False}
    ]


def test_accounts_are_snapshots_that_stay(
    settings_of: Build, warehouse: Warehouse, query: Query, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    settings = settings_of(accounts="a.csv")
    path.write_text(f'{ACCOUNTS}\na1,cus_1,pro,Active,1,3,"[""sso""]",2026-05-01\n')
    load_accounts(settings, warehouse, AS_OF)
    path.write_text(
        f"{ACCOUNTS}\n"
        "a1,cus_1,pro,canceled,no,4,,2026-05-02T02:00:00+02:00\n"
        "a2,,basic,trialing,,,[],2026-05-02\n"
        "a2,,basic,trialing,,,[],2026-05-02\n"
        "a3,cus_3,basic,active,yes,,,2026-05-02\n"
        "a3,cus_4,basic,active,yes,,,2026-05-02\n"
        ",cus_3,basic,active,yes,,,2026-05-02\n"
        "b1,cus_3,basic,asleep,yes,,,2026-05-02\n"
        "b2,cus_3,basic,active,yes,2.5,,2026-05-02\n"
        "b3,cus_3,basic,active,yes,-1,,2026-05-02\n"
        "b4,cus_3,basic,active,yes,,sso,2026-05-02\n"
        "b5,cus_3,basic,active,yes,,[1],2026-05-02\n"
        "b6,cus_3,basic,active,perhaps,,,2026-05-02\n"
        "b7,cus_3,basic,active,yes,,,infinity\n"
        "b8,cus_3,ba\x00sic,active,yes,,,2026-05-02\n"
        'b9,cus_3,basic,active,yes,,"[""\\u0000""]",2026-05-02\n'
    )
    result = load_accounts(settings, warehouse, AS_OF)
    found = query("select * from raw_business.accounts order by account_id, updated_at")
    assert [(row["account_id"], row["updated_at"].day, row["customer_id"]) for row in found] == [
        ("a1", 1, "cus_1"),
        ("a1", 2, "cus_1"),
        ("a2", 2, None),
        ("a3", 2, "cus_4"),
    ]
    assert (found[0]["features"], found[0]["access_enabled"], found[0]["seats"]) == (
        ["sso"],
        True,
        3,
    )
    assert (found[1]["status"], found[1]["access_enabled"]) == ("cancelled", False)
    assert found[2]["features"] == []
    assert _rejected(query) == {
        "a.csv:5": "duplicate: a.csv:6 has the same key and stands later",
        "a.csv:7": "missing account_id",
        "a.csv:8": "status 'asleep' is none of active, trialing, past_due, cancelled, suspended",
        "a.csv:9": "seats 2.5 is no whole number",
        "a.csv:10": "seats -1 is no whole number",
        "a.csv:11": "features is no JSON list of texts",
        "a.csv:12": "features is no JSON list of texts",
        "a.csv:13": "access_enabled 'perhaps' is neither true nor false",
        "a.csv:14": "updated_at 'infinity' is no ISO 8601 date or time",
        "a.csv:15": "holds a NUL character",
        "a.csv:16": "holds a NUL character",
    }
    assert (result.read, sum(result.rejected.values())) == (15, 11)
    payloads = query("select payload from ops.rejected_rows where location = 'a.csv:9'")
    assert '"seats":"2.5"' in payloads[0]["payload"]


def test_an_account_that_the_file_no_longer_names_is_marked(
    settings_of: Build, warehouse: Warehouse, query: Query, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    settings = settings_of(accounts="a.csv")
    kept = "a1,cus_1,pro,active,1,3,,2026-05-01"
    path.write_text(f"{ACCOUNTS}\n{kept}\na2,cus_2,pro,active,1,3,,2026-05-01\n")
    load_accounts(settings, warehouse, AS_OF)
    gone = "select gone_since from raw_business.accounts order by account_id, updated_at"
    assert [row["gone_since"] for row in query(gone)] == [None, None]

    path.write_text(f"{ACCOUNTS}\n{kept}\n")
    load_accounts(settings, warehouse, AS_OF + timedelta(days=1))
    load_accounts(settings, warehouse, AS_OF + timedelta(days=2))
    assert [row["gone_since"] for row in query(gone)] == [None, AS_OF + timedelta(days=1)]

    path.write_text(f"{ACCOUNTS}\n{kept}\na2,cus_2,pro,asleep,1,3,,2026-05-03\n")
    load_accounts(settings, warehouse, AS_OF + timedelta(days=3))
    assert [row["gone_since"] for row in query(gone)] == [None, None]

    load_accounts(settings_of(), warehouse, AS_OF + timedelta(days=4))
    assert [row["gone_since"] for row in query(gone)] == [None, None]


def test_scores_are_shares(
    settings_of: Build, warehouse: Warehouse, query: Query, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(
        "account_id,customer_id,plan,status,access_enabled,updated_at,health_score,churn_risk\n"
        "a,c,p,active,1,2026-05-01,0.123,1\nb,c,p,active,1,2026-05-01,1.1,\n"
        "c,c,p,active,1,2026-05-01,,NaN\n"
    )
    load_accounts(settings_of(accounts="a.csv"), warehouse, AS_OF)
    (row,) = query("select health_score, churn_risk from raw_business.accounts")
    assert row == {"health_score": Decimal("0.123"), "churn_risk": 1}
    assert set(_rejected(query)) == {"a.csv:3", "a.csv:4"}


def test_exceptions_include_their_last_day(
    settings_of: Build, warehouse: Warehouse, query: Query, tmp_path: Path
) -> None:
    (tmp_path / "e.csv").write_text(
        "exception_id,customer_id,leakage_type,reason,approved_by,valid_from,valid_until\n"
        "1,cus,Seat_Leakage,pilot,cfo,2026-01-01,2026-01-31\n2,cus,x,,,2026-01-01,\n"
        "3,cus,x,,,2026-02-01,2026-01-01\n"
    )
    load_exceptions(settings_of(exceptions="e.csv"), warehouse, AS_OF)
    first, second = query("select * from raw_business.exceptions order by exception_id")
    assert first["leakage_type"] == "seat_leakage"
    assert first["valid_until"] == datetime(2026, 2, 1, tzinfo=UTC)
    assert second["valid_until"] is None
    assert _rejected(query) == {"e.csv:4": "valid_until 2026-01-01 is before valid_from 2026-02-01"}


def test_fx_rates_from_a_table_of_another_database(
    settings_of: Build, warehouse: Warehouse, query: Query, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'fx.db'}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text('create table "FX Rates" ("Rate Date", from_currency,'
                                   " to_currency, rate, note)"))  # fmt: skip
        connection.execute(
            sa.text('insert into "FX Rates" values (:d, :f, :t, :r, null)'),
            [
                {"d": "2026-05-01", "f": "EUR", "t": "usd", "r": 1.1},
                {"d": "2026-05-02", "f": "EUR", "t": "usd", "r": "0"},
                {"d": "2026-05-03", "f": "EUR", "t": "usd", "r": None},
            ],
        )
    engine.dispose()
    source = {"kind": "sql", "url_env": "FX_URL", "table": "FX Rates"}
    load_fx_rates(settings_of({"FX_URL": url}, fx_rates=source), warehouse, AS_OF)
    assert query("select * from raw_business.fx_rates") == [
        {
            "rate_date": date(2026, 5, 1),
            "from_currency": "eur",
            "to_currency": "usd",
            "rate": Decimal("1.1"),
        }
    ]
    assert _rejected(query) == {"FX Rates:2": "rate is 0", "FX Rates:3": "missing rate"}


@pytest.mark.parametrize(
    ("url", "table", "error", "message"),
    [
        ("sqlite:///{dir}/x.db", "nowhere", ConfigurationError, "no table or view nowhere"),
        ("no url s3cret", "t", ConfigurationError, "FX_URL holds no SQLAlchemy URL"),
        ("nodb://u:s3cret@h/d", "t", ConfigurationError, "FX_URL holds no SQLAlchemy URL"),
        ("mysql+mysqldb://u:s3cret@h/d", "t", ConfigurationError, "is not installed"),
        ("postgresql://u:s3cret@127.0.0.1:1/d", "t", TransientFailure, "the database answers"),
    ],
)
def test_a_database_that_cannot_be_read_is_one_message_without_secrets(
    url: str,
    table: str,
    error: type[Exception],
    message: str,
    settings_of: Build,
    warehouse: Warehouse,
    tmp_path: Path,
) -> None:
    source = {"kind": "sql", "url_env": "FX_URL", "table": table}
    settings = settings_of({"FX_URL": url.format(dir=tmp_path)}, fx_rates=source)
    with pytest.raises(error, match=message) as caught:
        load_fx_rates(settings, warehouse, AS_OF)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_contracts_from_a_postgres_table_keep_json_numbers_exact(
    settings_of: Build, warehouse: Warehouse, query: Query, database_url: str
) -> None:
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "create table public.deals (contract_id int, customer_id text, base_price numeric,"
                " overage_rates jsonb, effective_date timestamptz, features text[])"
            )
        )
        connection.execute(
            sa.text(
                "insert into deals values (7, 'cus', 12345678901234567890.123456,"
                """ '{"calls": 0.12345678901234567890123}', '2026-01-01T00:30:00+02:00')"""
            )
        )
    engine.dispose()
    source = {"kind": "sql", "url_env": "APP_URL", "table": "public.deals"}
    load_terms(settings_of({"APP_URL": database_url}, contracts=source), warehouse, AS_OF)
    (contract,) = query("select * from raw_business.contracts")
    assert contract["base_price"] == Decimal("12345678901234567890.123456")
    assert contract["effective_date"] == date(2025, 12, 31)
    (tier,) = query("select unit_amount from raw_business.term_tiers")
    assert tier["unit_amount"] == Decimal("0.12345678901234567890123")

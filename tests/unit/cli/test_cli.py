"""The command line: one clear message, the right exit code, nothing written before all is well."""

import socket
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import psycopg2.extensions
import pytest

from leakage_pipeline import cli
from leakage_pipeline.simulator.stripe_objects import StripeAccount
from leakage_pipeline.simulator.stripe_server import DEFAULT_API_KEY, ApiKey, StripeServer
from leakage_pipeline.warehouse.audit_lock import audit_lock

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
CONTRACTS = "contract_id,customer_id,effective_date\n"


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a valid configuration and inputs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "leakage.yaml").write_text(
        "company: Test\n"
        "sources:\n"
        "  usage: [{name: log, kind: files, uri: 'usage/*.csv'}]\n"
        "  contracts: contracts.csv\n"
        "meters: {calls: {stripe_event_name: api_calls}}\n"
    )
    (tmp_path / "contracts.csv").write_text(CONTRACTS)
    (tmp_path / "usage").mkdir()
    (tmp_path / "usage/a.csv").write_text("event_id,customer_id,meter,value,occurred_at\n")
    return tmp_path


@pytest.fixture
def run(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `leakage` with arguments and variables in the working directory."""

    def call(*arguments: str, **environ: str) -> Outcome:
        with monkeypatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["leakage", *arguments])
            with pytest.raises(SystemExit) as ended:
                cli.main()
        told = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), told.out, told.err)

    assert place.exists()
    return call


@pytest.fixture
def stripe_base() -> Iterator[str]:
    with StripeServer(StripeAccount(), now=AS_OF) as server:
        yield server.base_url


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def assert_one_line(outcome: Outcome, code: int, *parts: str) -> None:
    assert outcome.code == code, outcome
    assert outcome.err.startswith("leakage: ")
    assert len(outcome.err.strip().splitlines()) == 1, outcome.err
    for part in parts:
        assert part in outcome.err


def untouched(place: Path) -> bool:
    return not (place / ".leakage").exists()


def test_a_missing_configuration_is_bad_configuration(run: Run, place: Path) -> None:
    (place / "leakage.yaml").unlink()
    assert_one_line(run("audit"), 2, str(place / "leakage.yaml"), "copy leakage.yaml")
    assert untouched(place)


def test_a_wrong_key_is_named_with_its_line(run: Run, place: Path) -> None:
    with (place / "leakage.yaml").open("a") as file:
        file.write("polcy: {}\n")
    assert_one_line(run("audit"), 2, "line 6", "polcy", "did you mean policy?")
    assert untouched(place)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["audit", "--as-of", "yesterday"], "must be a date or time"),
        (["audit", "--nonsense"], "No such option"),
        (["nonsense"], "No such command"),
        (["demo", "--customers", "0"], "is not in the range"),
    ],
)
def test_wrong_usage_is_2(run: Run, arguments: list[str], expected: str) -> None:
    outcome = run(*arguments)
    assert outcome.code == 2
    assert expected in outcome.err
    assert "Traceback" not in outcome.err


def test_help_is_0_and_lists_the_commands(run: Run) -> None:
    outcome = run("--help")
    assert outcome.code == 0
    for command in ("audit", "report", "dev", "doctor", "db", "demo"):
        assert command in outcome.out


def test_a_missing_key_is_bad_configuration(run: Run, place: Path) -> None:
    assert_one_line(run("audit"), 2, "STRIPE_API_KEY is not set")
    assert untouched(place)


def test_a_missing_file_is_named_with_its_key(run: Run, place: Path, stripe_base: str) -> None:
    (place / "contracts.csv").unlink()
    outcome = run("audit", STRIPE_API_KEY=DEFAULT_API_KEY, STRIPE_API_BASE=stripe_base)
    assert_one_line(outcome, 2, "sources.contracts", "contracts.csv")
    assert untouched(place)


def test_a_header_without_a_required_column_is_named(
    run: Run, place: Path, stripe_base: str
) -> None:
    (place / "usage/b.csv").write_text("event_id,meter\n1,api\n")
    outcome = run("audit", STRIPE_API_KEY=DEFAULT_API_KEY, STRIPE_API_BASE=stripe_base)
    assert_one_line(outcome, 2, "sources.usage[log]", "b.csv", "customer_id")
    assert untouched(place)


def test_an_unreachable_stripe_is_a_failed_run(run: Run, place: Path) -> None:
    base = f"http://127.0.0.1:{closed_port()}"
    outcome = run("audit", STRIPE_API_KEY=DEFAULT_API_KEY, STRIPE_API_BASE=base)
    assert_one_line(outcome, 1, base, "connection refused")
    assert untouched(place)


def test_a_revoked_key_is_a_failed_run_and_is_not_shown(run: Run, place: Path) -> None:
    keys = [ApiKey("rk_test_hunter2hunter2hunter2", revoked=True)]
    with StripeServer(StripeAccount(), now=AS_OF, keys=keys) as server:
        outcome = run("audit", STRIPE_API_KEY=keys[0].secret, STRIPE_API_BASE=server.base_url)
    assert_one_line(outcome, 1, "STRIPE_API_KEY", "401")
    assert keys[0].secret not in outcome.err + outcome.out
    assert untouched(place)


def test_an_unreachable_database_is_a_failed_run_and_its_password_is_not_shown(
    run: Run, place: Path, stripe_base: str
) -> None:
    outcome = run(
        "audit",
        STRIPE_API_KEY=DEFAULT_API_KEY,
        STRIPE_API_BASE=stripe_base,
        LEAKAGE_DATABASE_URL=f"postgres://u:hunter2@127.0.0.1:{closed_port()}/leaks",
    )
    assert_one_line(outcome, 1, "127.0.0.1", "LEAKAGE_DATABASE_URL")
    assert "hunter2" not in outcome.err + outcome.out
    assert untouched(place)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mysql://u:hunter2@h/d", "the warehouse is Postgres"),
        ("hunter2", "is no database address"),
        ("postgres://u:hunter2@h", "names no database"),
    ],
)
def test_a_database_address_that_is_none_is_bad_configuration(
    run: Run, stripe_base: str, url: str, expected: str
) -> None:
    outcome = run(
        "audit",
        STRIPE_API_KEY=DEFAULT_API_KEY,
        STRIPE_API_BASE=stripe_base,
        LEAKAGE_DATABASE_URL=url,
    )
    assert_one_line(outcome, 2, "LEAKAGE_DATABASE_URL", expected)
    assert "hunter2" not in outcome.err


def test_two_audits_do_not_run_at_once(run: Run, stripe_base: str, database_url: str) -> None:
    with audit_lock(database_url):
        outcome = run(
            "audit",
            STRIPE_API_KEY=DEFAULT_API_KEY,
            STRIPE_API_BASE=stripe_base,
            LEAKAGE_DATABASE_URL=database_url,
        )
    assert_one_line(outcome, 1, "another audit has been running on this database since 20")


def test_a_report_before_any_audit_says_what_to_run(run: Run, database_url: str) -> None:
    assert_one_line(run("report", LEAKAGE_DATABASE_URL=database_url), 1, "run leakage audit")


def test_doctor_names_every_problem_and_goes_on(run: Run, place: Path, database_url: str) -> None:
    (place / "contracts.csv").write_text("contract_id\n")
    keys = [ApiKey(denied=frozenset({"/v1/coupons"}))]
    with StripeServer(StripeAccount(), now=AS_OF, keys=keys) as server:
        outcome = run(
            "doctor",
            STRIPE_API_KEY=DEFAULT_API_KEY,
            STRIPE_API_BASE=server.base_url,
            LEAKAGE_DATABASE_URL=database_url,
        )
    assert outcome.code == 2
    problems = [line for line in outcome.out.splitlines() if line.startswith("  problem")]
    assert len(problems) == 3, outcome.out
    assert "contracts.csv" in problems[0]
    assert "Coupons (rak_coupon_read)" in problems[1]
    assert "Stripe has no meter for meters.calls (api_calls)" in problems[2]
    assert "ok       database: Postgres" in outcome.out
    assert "ok       usage log log: 1 file" in outcome.out


def test_doctor_names_what_deals_and_mails_to_customers_lack(
    run: Run, place: Path, database_url: str
) -> None:
    with (place / "leakage.yaml").open("a") as file:
        file.write(
            "policy:\n"
            "  action_mode: approve\n"
            "  crm: {system: pipedrive}\n"
            "  messages: {customers: smtp, sender: billing@acme.example}\n"
        )
    lacking = run("doctor", LEAKAGE_DATABASE_URL=database_url).out
    assert "PIPEDRIVE_API_TOKEN" in lacking
    assert "policy.messages.customers is smtp and SMTP_URL is not set" in lacking
    given = run(
        "doctor",
        LEAKAGE_DATABASE_URL=database_url,
        PIPEDRIVE_API_TOKEN="t",  # noqa: S106 - a test's
        PIPEDRIVE_API_BASE_URL="https://acme.pipedrive.com",
        SMTP_URL="smtp://me:secret@mail.example:2525",
    ).out
    assert "ok       deals: to pipedrive" in given
    assert "ok       mails to customers: over mail.example:2525" in given
    assert "secret" not in given


def test_the_lock_is_free_again_when_its_session_dies(
    database_url: str, conn: psycopg2.extensions.connection
) -> None:
    with audit_lock(database_url), conn.cursor() as cursor:
        cursor.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where application_name = 'leakage audit' and datname = current_database()"
        )
        conn.commit()
        with audit_lock(database_url):
            pass

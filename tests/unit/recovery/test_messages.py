"""Messages: planned once per leak, released by a person, delivered once whatever breaks."""

from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import psycopg2.extensions
import pytest

from leakage_pipeline.failures import ConfigurationError
from leakage_pipeline.recovery import ledger, sending
from leakage_pipeline.recovery.guards import Stopped
from leakage_pipeline.recovery.lanes import deliveries
from leakage_pipeline.recovery.ledger import Action
from leakage_pipeline.recovery.messages import Outbox, plan_messages
from leakage_pipeline.recovery.stripe_writer import StripeWriter
from leakage_pipeline.settings import Settings
from leakage_pipeline.simulator.stripe_server import StripeServer
from tests.unit.publishing import mail_server, sample, slack_server
from tests.unit.publishing.mail_server import MailServer
from tests.unit.publishing.sample import Row, insert
from tests.unit.publishing.slack_server import Reply, Slack
from tests.unit.recovery import company
from tests.unit.recovery.company import AS_OF, END, NOW, START

Connection = psycopg2.extensions.connection
TOKEN = "xoxb-1"  # noqa: S105 - a test's
ADDRESS = "boss@globex.example"
TEXT = "Hello Globex,\n\nyour usage is close to the limit."


@pytest.fixture
def smtp() -> Iterator[MailServer]:
    with mail_server.serve() as server:
        yield server


@pytest.fixture
def slack() -> Iterator[Slack]:
    with slack_server.serve() as server:
        yield server


def _settings(tmp_path: Path, url: str, **given: Any) -> Settings:
    """A configuration with these messages; environment variables are upper case."""
    wanted = {key: value for key, value in given.items() if not key.isupper()}
    limits = wanted.pop("limits", {})
    mode = wanted.pop("mode", "approve")
    written = {"action_mode": mode, "messages": wanted, "action_limits": limits}
    (tmp_path / "leakage.yaml").write_text(
        f"sources: {{}}\npolicy: {company.dumped(written)}\n", encoding="utf-8"
    )
    variables = {key: str(value) for key, value in given.items() if key.isupper()}
    return sample.settings(tmp_path, LEAKAGE_DATABASE_URL=url, **variables)


def _found(conn: Connection, cap: int = 80, name: str = "Globex") -> None:
    """Two months of one leak, a soft cap that was reached, and work of nobody's customer."""
    rows = [
        Row("seat0", customer_id="cus_0", leakage_type="seat_leakage", period_start=START),
        Row("seat1", customer_id="cus_0", leakage_type="seat_leakage", period_start=END),
        Row(
            "limit",
            customer_id="cus_0",
            leakage_type="approaching_limit",
            direction="opportunity",
            evidence={"soft_cap_percent": cap},
        ),
        Row("map", customer_id=None, leakage_type="unattributed_usage", description="<!here> & x"),
    ]
    with conn, conn.cursor() as cursor:
        cursor.execute("delete from marts.fct_leakage_detections")
        cursor.execute("delete from marts.dim_customers")
        cursor.execute("delete from ops.classifications")
    insert(conn, "marts.fct_leakage_detections", rows)
    person = {"customer_id": "cus_0", "name": name, "email": ADDRESS}
    insert(conn, "marts.dim_customers", [person])
    with conn, conn.cursor() as cursor:
        cursor.execute(
            "insert into ops.classifications select detection_id, 'expansion_opportunity',"
            " case left(detection_id, 3) when 'sea' then 'true_up_seats'"
            "     when 'lim' then 'notify_limit' else 'map_usage' end, 0.9, 'r',"
            " case when detection_id != 'map' then 'About ' || detection_id end,"
            " case when detection_id != 'map' then %s end, 'rules', 'h', now()"
            " from marts.fct_leakage_detections",
            (TEXT,),
        )


def _planned(conn: Connection, settings: Settings) -> dict[str, Action]:
    plan_messages(conn, settings, AS_OF)
    return {
        f"{each.action}/{each.leakage_type}": each
        for each in ledger.read(conn, ("planned", "approved"))
    }


def _send(
    conn: Connection, settings: Settings, hours: int = 0, *, release: bool = True
) -> list[str]:
    if release:
        company.approve_all(conn)
    others = deliveries(settings, StripeWriter("rk_test_x", "http://127.0.0.1:9"))
    now = NOW + timedelta(hours=hours)
    report = sending.run(conn, settings.policy, StripeWriter("rk_test_x"), now, others)
    return [outcome for _, outcome in report.outcomes]


def test_one_mail_per_leak_and_per_soft_cap_without_an_address(
    ready: Connection, database_url: str, tmp_path: Path
) -> None:
    settings = _settings(tmp_path, database_url, customers="export")
    _found(ready)
    first = _planned(ready, settings)
    assert set(first) == {"customer_email/seat_leakage", "customer_email/approaching_limit"}
    assert first["customer_email/seat_leakage"].detection_id == "seat1"
    assert first["customer_email/seat_leakage"].request[0]["params"] == {
        "customer": "cus_0",
        "subject": "About seat1",
        "text": TEXT,
    }
    assert first["customer_email/seat_leakage"].before == {"periods": 2, "total": 100}
    assert ADDRESS not in company.dumped([each.request for each in first.values()])
    assert _planned(ready, settings).keys() == first.keys()
    # The next soft cap is another message; the first was withdrawn, nobody had released it.
    _found(ready, cap=90)
    again = _planned(ready, settings)
    names = {each.action_id for each in first.values()} ^ {
        each.action_id for each in again.values()
    }
    assert len(names) == 2
    assert len(again) == 2


def test_other_words_need_another_release(
    ready: Connection, database_url: str, tmp_path: Path
) -> None:
    settings = _settings(tmp_path, database_url, customers="export")
    _found(ready)
    _planned(ready, settings)
    company.approve_all(ready)
    assert {each.status for each in _planned(ready, settings).values()} == {"approved"}
    with ready, ready.cursor() as cursor:
        cursor.execute("update ops.classifications set draft_body = draft_body || '!'")
    assert {each.status for each in _planned(ready, settings).values()} == {"planned"}


def test_a_leak_that_is_gone_and_comes_back_is_planned_again(
    ready: Connection, database_url: str, tmp_path: Path
) -> None:
    settings = _settings(tmp_path, database_url, customers="export")
    _found(ready)
    first = _planned(ready, settings)
    company.approve_all(ready)
    with ready, ready.cursor() as cursor:
        cursor.execute(
            "insert into ops.detection_state (detection_id, status, updated_at)"
            " select detection_id, 'dismissed', now() from marts.fct_leakage_detections"
        )
    assert _planned(ready, settings) == {}
    with ready, ready.cursor() as cursor:
        cursor.execute("update ops.detection_state set status = 'new'")
    again = _planned(ready, settings)
    assert again.keys() == first.keys()
    assert {each.status for each in again.values()} == {"planned"}


@pytest.mark.parametrize("mode", ["off", "dry_run"])
def test_other_modes_send_no_word(
    ready: Connection, database_url: str, tmp_path: Path, mode: str
) -> None:
    settings = _settings(tmp_path, database_url, customers="export", mode=mode)
    _found(ready)
    assert (plan_messages(ready, settings, AS_OF) == 0) == (mode == "off")
    assert _send(ready, settings) == []


def test_no_mode_writes_to_a_customer_without_a_person(
    ready: Connection, database_url: str, tmp_path: Path, smtp: MailServer, slack: Slack
) -> None:
    settings = _settings(
        tmp_path,
        database_url,
        mode="auto",
        customers="smtp",
        sender="billing@acme.example",
        teams=True,
        SMTP_URL=smtp.url,
        SLACK_BOT_TOKEN=TOKEN,
        SLACK_API_BASE_URL=slack.base_url,
    )
    _found(ready)
    _planned(ready, settings)
    assert _send(ready, settings, release=False) == ["sent"] * 3  # teams only
    assert smtp.mails == []
    assert len(slack.messages) == 3


def test_a_draft_is_a_file_that_only_its_owner_reads(
    ready: Connection, database_url: str, tmp_path: Path
) -> None:
    settings = _settings(tmp_path, database_url, customers="export")
    _found(ready)
    _planned(ready, settings)
    assert all(outcome.startswith("written to ") for outcome in _send(ready, settings))
    assert _send(ready, settings) == []
    paths = sorted((settings.home / "outbox").iterdir())
    assert [oct(path.stat().st_mode & 0o777) for path in paths] == ["0o600"] * 2
    letters = [message_from_bytes(path.read_bytes(), policy=policy.default) for path in paths]
    assert {letter["To"] for letter in letters} == {ADDRESS}
    assert {letter["Subject"] for letter in letters} == {"About seat1", "About limit"}
    assert {letter["X-Unsent"] for letter in letters} == {"1"}


def _with_smtp(tmp_path: Path, url: str, smtp: MailServer, **more: Any) -> Settings:
    given = {"customers": "smtp", "sender": "billing@acme.example", "SMTP_URL": smtp.url}
    return _settings(tmp_path, url, **given, **more)


def test_a_mail_leaves_once(
    ready: Connection, database_url: str, tmp_path: Path, smtp: MailServer
) -> None:
    settings = _with_smtp(tmp_path, database_url, smtp)
    _found(ready)
    _planned(ready, settings)
    assert _send(ready, settings) == ["sent", "sent"]
    assert _send(ready, settings) == []
    _planned(ready, settings)
    assert _send(ready, settings) == []
    assert smtp.recipients == [ADDRESS] * 2
    assert {mail["From"] for mail in smtp.mails} == {"billing@acme.example"}
    assert all(TEXT in mail.get_content().replace("\r\n", "\n") for mail in smtp.mails)


@pytest.mark.parametrize(
    ("command", "answer", "says", "status"),
    [
        ("BODY", "cut", "for a person: ", "sent"),
        ("BODY", "550 no", "failed: ", "failed"),
        ("RCPT", "450 later", "waits: ", "approved"),
        ("DATA", "cut", "for a person: ", "sent"),
    ],
)
def test_what_a_mail_server_does_wrong_sends_nothing_twice(
    ready: Connection,
    database_url: str,
    tmp_path: Path,
    smtp: MailServer,
    *,
    command: str,
    answer: str,
    says: str,
    status: str,
) -> None:
    settings = _with_smtp(tmp_path, database_url, smtp, limits={"error_pct": 100})
    _found(ready)
    _planned(ready, settings)
    smtp.answers[command] = answer
    outcomes = _send(ready, settings)
    assert all(outcome.startswith(says) for outcome in outcomes), outcomes
    assert {each.status for each in ledger.read(ready)} == {status}
    smtp.answers.clear()
    before = len(smtp.mails)
    _send(ready, settings, release=False)
    assert len(smtp.mails) == (2 if status == "approved" else before)


def test_a_mail_that_may_have_left_is_a_persons(
    ready: Connection, database_url: str, tmp_path: Path, smtp: MailServer
) -> None:
    settings = _with_smtp(tmp_path, database_url, smtp)
    _found(ready)
    _planned(ready, settings)
    company.approve_all(ready)
    action = ledger.read(ready)[0]
    assert ledger.claim(ready, action, by="ann", at=NOW)  # and the process is gone
    assert (
        Outbox(settings)
        .deliver(ready, ledger.find(ready, action.action_id), NOW)
        .startswith("for a person: it may have left")
    )
    assert _send(ready, settings) == ["sent"]
    ledger.resolve(ready, action.action_id, arrived=True, by="ann", at=NOW)
    assert {each.status for each in ledger.read(ready)} == {"confirmed"}


def test_no_customer_hears_from_us_too_often(
    ready: Connection, database_url: str, tmp_path: Path, smtp: MailServer
) -> None:
    limits = {"mails_per_customer": 1}
    settings = _with_smtp(tmp_path, database_url, smtp, limits=limits)
    _found(ready)
    _planned(ready, settings)
    assert sorted(_send(ready, settings)) == ["sent", "waits: the customer had 1 mails in 31 days"]
    none = _with_smtp(tmp_path, database_url, smtp, limits={"messages_per_day": 0})
    assert "the cap of messages per day" in _send(ready, none)[0]


@pytest.mark.parametrize("address", ["", "two@a.example, b@b.example", "a@b.example\r\nBcc: x@y.z"])
def test_only_one_plain_address_is_written_to(
    ready: Connection, database_url: str, tmp_path: Path, smtp: MailServer, address: str
) -> None:
    settings = _with_smtp(tmp_path, database_url, smtp, limits={"error_pct": 100})
    _found(ready)
    with ready, ready.cursor() as cursor:
        cursor.execute("update marts.dim_customers set email = %s", (address,))
    _planned(ready, settings)
    outcomes = _send(ready, settings)
    assert outcomes == (["failed: the customer has no mail address"] * 2 if address else [])
    assert smtp.recipients == []


def _with_slack(tmp_path: Path, url: str, slack: Slack) -> Settings:
    return _settings(
        tmp_path,
        url,
        teams=True,
        SLACK_BOT_TOKEN=TOKEN,
        SLACK_API_BASE_URL=slack.base_url,
    )


def test_a_team_is_told_once_and_nothing_in_it_is_a_command(
    ready: Connection, database_url: str, tmp_path: Path, slack: Slack
) -> None:
    settings = _with_slack(tmp_path, database_url, slack)
    _found(ready)
    _planned(ready, settings)
    assert _send(ready, settings) == ["sent"] * 3
    _planned(ready, settings)
    assert _send(ready, settings) == []
    assert len(slack.messages) == 3
    said = "\n".join(message["text"] for message in slack.messages)
    assert "*Map the usage to its customer or meter* (no customer, unattributed usage)" in said
    assert "&lt;!here&gt; &amp; x" in said
    assert "<!here>" not in said
    assert ADDRESS not in said


def test_a_slack_answer_that_is_lost_posts_nothing_twice(
    ready: Connection, database_url: str, tmp_path: Path, slack: Slack
) -> None:
    settings = _with_slack(tmp_path, database_url, slack)
    _found(ready)
    _planned(ready, settings)
    slack.post_replies.extend([Reply(hang_up=True, after_posting=True), Reply(status=500)])
    outcomes = _send(ready, settings)
    assert sorted(outcome.partition(":")[0] for outcome in outcomes) == ["open", "open", "sent"]
    assert sorted(_send(ready, settings)) == ["had arrived", "sent"]
    assert len(slack.messages) == 3
    assert {each.status for each in ledger.read(ready)} == {"confirmed"}


def test_a_dismissed_finding_is_not_spoken_of(
    ready: Connection, database_url: str, tmp_path: Path, slack: Slack
) -> None:
    settings = _with_slack(tmp_path, database_url, slack)
    _found(ready)
    _planned(ready, settings)
    company.approve_all(ready)
    with ready, ready.cursor() as cursor:
        cursor.execute(
            "insert into ops.detection_state (detection_id, status, updated_at)"
            " select detection_id, 'dismissed', now() from marts.fct_leakage_detections"
        )
    assert _send(ready, settings) == ["waits: the finding was dismissed"] * 3
    assert _planned(ready, settings) == {}
    assert slack.messages == []


@pytest.mark.parametrize("url", [None, "mail.example:25"])
def test_a_released_mail_waits_while_the_mail_server_is_not_named(
    ready: Connection, database_url: str, tmp_path: Path, smtp: MailServer, url: str | None
) -> None:
    given = {"customers": "smtp", "sender": "billing@acme.example"}
    lacking = _settings(
        tmp_path, database_url, **given, **({} if url is None else {"SMTP_URL": url})
    )
    _found(ready)
    _planned(ready, lacking)
    with pytest.raises(ConfigurationError, match="SMTP_URL"):
        _send(ready, lacking)
    assert {each.status for each in ledger.read(ready)} == {"approved"}
    mended = _with_smtp(tmp_path, database_url, smtp)
    assert _send(ready, mended, release=False) == ["sent", "sent"]
    assert len(smtp.mails) == 2


def test_smtp_without_a_sender_is_bad_configuration(tmp_path: Path, database_url: str) -> None:
    with pytest.raises(ConfigurationError, match="needs a sender"):
        _settings(tmp_path, database_url, customers="smtp")


def test_too_many_refused_mails_stop_all_sending(
    ready: Connection, database_url: str, tmp_path: Path, smtp: MailServer
) -> None:
    settings = _with_smtp(tmp_path, database_url, smtp, limits={"mails_per_customer": 9})
    _found(ready)
    for number in range(3):
        insert(
            ready,
            "marts.fct_leakage_detections",
            [Row(f"late{number}", customer_id="cus_0", leakage_type="late_usage")],
        )
    with ready, ready.cursor() as cursor:
        cursor.execute(
            "insert into ops.classifications select detection_id, 'technical_error',"
            " 'invoice_difference', 0.9, 'r', 's', 'b', 'rules', 'h', now()"
            " from marts.fct_leakage_detections where detection_id like 'late%'"
        )
    _planned(ready, settings)
    smtp.answers["BODY"] = "550 no"
    assert len(_send(ready, settings)) == 3
    with pytest.raises(Stopped, match="3 of 3 requests failed"):
        _send(ready, settings)


def test_a_cap_on_money_does_not_silence_messages(
    ready: Connection,
    stripe_server: StripeServer,
    database_url: str,
    tmp_path: Path,
    smtp: MailServer,
) -> None:
    settings = _with_smtp(tmp_path, database_url, smtp, limits={"per_run": 10})
    company.offer(ready, company.owed())
    _found(ready)
    _planned(ready, settings)
    company.approve_all(ready)
    writer = StripeWriter(stripe_server.api_key, stripe_server.base_url)
    report = sending.run(ready, settings.policy, writer, NOW, deliveries(settings, writer))
    assert "the cap per run" in str(report.stopped)
    assert [outcome for _, outcome in report.outcomes] == ["sent", "sent"]

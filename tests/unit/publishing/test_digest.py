"""Each digest tells what differs; changes are answered in threads; severe news is told at once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg2.extensions
import pytest

from leakage_pipeline.classification.run import classify
from leakage_pipeline.failures import TransientFailure
from leakage_pipeline.publishing import told
from leakage_pipeline.publishing.alerts import AlertResult, publish_alerts
from leakage_pipeline.publishing.digest import DigestResult, publish_digest
from leakage_pipeline.settings import Settings
from tests.unit.publishing import company, sample, slack_server
from tests.unit.publishing.sample import AS_OF, Row, insert
from tests.unit.publishing.slack_server import Reply, Slack

Connection = psycopg2.extensions.connection
TOKEN = {"SLACK_BOT_TOKEN": "xoxb-secret-token"}
EVENING = AS_OF.replace(hour=17)
MAIN = "#revenue-leakage"


@pytest.fixture
def slack() -> Iterator[Slack]:
    with slack_server.serve() as running:
        yield running


def policy(tmp_path: Path, slack: Slack, text: str = "{}") -> Settings:
    path = tmp_path / "leakage.yaml"
    path.write_text(f"company: Acme Cloud\nsources: {{}}\npolicy: {{slack: {text}}}\n")
    return sample.settings(tmp_path, **TOKEN, SLACK_API_BASE_URL=slack.base_url)


@pytest.fixture
def settings(tmp_path: Path, slack: Slack) -> Settings:
    return policy(tmp_path, slack)


def digest(conn: Connection, settings: Settings, day: int = 0) -> DigestResult:
    audited(conn, AS_OF + timedelta(days=day))
    return publish_digest(conn, settings, EVENING + timedelta(days=day))


def audited(conn: Connection, at: datetime) -> None:
    execute(conn, "delete from raw_business.audit_settings")
    insert(conn, "raw_business.audit_settings", [{"singleton": 1, "as_of": at}])


def execute(conn: Connection, statement: str) -> None:
    with conn.cursor() as cursor:
        cursor.execute(statement)
    conn.commit()


def change(conn: Connection) -> None:
    """A customer leaves an incident, a leak doubles, one is mended, one comes, money comes back."""
    execute(conn, "delete from marts.fct_leakage_detections where detection_id like 'price-3-%'")
    execute(conn, "delete from marts.fct_leakage_detections where detection_id = 'double-11'")
    execute(
        conn,
        "update marts.fct_leakage_detections set leakage_amount = 700"
        " where detection_id = 'overage-2'",
    )
    insert(conn, "marts.fct_leakage_detections", [Row("fresh", company.customer(4))])
    back = {
        "leakage_type": "missing_overage",
        "customer_id": company.customer(2),
        "currency": "eur",
        "recovered_amount": Decimal("120.00"),
        "recovered_at": EVENING + timedelta(hours=3),
    }
    insert(conn, "marts.fct_revenue_recovered", [back])
    given = {
        "leakage_type": "overbilled_price",
        "customer_id": company.customer(3),
        "currency": "usd",
        "corrected_amount": Decimal("20.00"),
        "corrected_at": EVENING + timedelta(hours=3),
    }
    insert(conn, "marts.fct_overbilling_corrected", [given])


# ---------------------------------------------------------------------- the digest


def test_the_first_digest_tells_everything_and_the_next_only_what_differs(
    filled: Connection, settings: Settings
) -> None:
    digest(filled, settings)
    change(filled)
    second = digest(filled, settings, day=1)
    text = second.text_path.read_text("utf-8")
    assert "New single findings\n• Sato Denki" in text
    assert (
        "Nordlicht GmbH: Usage above the included quantity not billed: "
        "€350.00 → €700.00 in closed periods"
    ) in text
    assert "2 → 1 customer" in text
    assert "Recovered\n• Usage above the included quantity not billed: €120.00 (1 customer)" in text
    assert (
        "Given back, billed too much\n• Billed above the price in force: $20.00 (1 customer)"
        in text
    )
    assert "Mistral Energie: Charged more than the price gives: no longer found" in text
    # The broken endpoint was told yesterday and is only counted today.
    assert "encode_4k" not in text
    assert "findings and incidents open and unchanged since 20 Nov 2026." in text


def test_a_repeated_run_of_the_same_day_says_the_same_and_posts_nothing(
    filled: Connection, settings: Settings, slack: Slack
) -> None:
    digest(filled, settings)
    change(filled)
    first = digest(filled, settings, day=1)
    again = digest(filled, settings, day=1)
    assert first.json_path.read_text() == again.json_path.read_text()
    assert (first.messages, again.messages) == (1 + 1, 0)
    assert len(slack.messages) == 3


def test_a_quiet_day_says_so_in_one_line(
    filled: Connection, settings: Settings, slack: Slack
) -> None:
    digest(filled, settings)
    text = digest(filled, settings, day=1).text_path.read_text("utf-8")
    assert "nothing new." in text
    assert "New" not in text
    assert len(slack.messages) == 2


def test_what_changed_is_answered_once_in_the_thread_that_first_told_it(
    filled: Connection, settings: Settings, slack: Slack
) -> None:
    first = digest(filled, settings)
    change(filled)
    digest(filled, settings, day=1)
    (answer,) = [m for m in slack.messages if "thread_ts" in m]
    assert answer["thread_ts"] == first.remote_id
    text = answer["blocks"][0]["text"]["text"]
    assert "€350.00 → €700.00" in text
    assert "no longer found" in text
    assert "Sato Denki" not in text
    # A topic that came back later is answered in its own, first thread.
    insert(filled, "marts.fct_leakage_detections", [Row("more", company.customer(4))])
    digest(filled, settings, day=2)
    threads = {m["thread_ts"] for m in slack.messages if "thread_ts" in m}
    assert len(threads) == 2


def test_a_dismissed_finding_is_neither_told_nor_mourned(
    filled: Connection, settings: Settings
) -> None:
    digest(filled, settings)
    execute(
        filled,
        "insert into ops.detection_state (detection_id, status, updated_by, updated_at)"
        " values ('overage-2', 'dismissed', 'jane', now())",
    )
    text = digest(filled, settings, day=1).text_path.read_text("utf-8")
    assert "Nordlicht" not in text


def test_an_audit_that_did_not_run_is_said(filled: Connection, settings: Settings) -> None:
    audited(filled, AS_OF - timedelta(days=1))
    text = publish_digest(filled, settings, EVENING).text_path.read_text("utf-8")
    assert "The newest audit is of 19 Nov 2026, 06:00 UTC: none has run since." in text


@pytest.mark.parametrize("arrived", [True, False])
def test_an_answer_in_a_thread_whose_confirmation_was_lost_is_looked_up_there(
    filled: Connection, settings: Settings, slack: Slack, arrived: bool
) -> None:
    digest(filled, settings)
    change(filled)
    usual = Reply(body={"ok": True, "ts": "1700000000.000001", "channel": "C0REVENUE"})
    slack.post_replies = [
        replace(usual, after_posting=True),
        Reply(hang_up=True, after_posting=arrived),
    ]
    with pytest.raises(TransientFailure, match="did not confirm"):
        digest(filled, settings, day=1)
    digest(filled, settings, day=1)
    assert len([m for m in slack.messages if "thread_ts" in m]) == 1
    assert len(slack.messages) == 3


def test_a_crash_after_posting_forgets_neither_thread_nor_state(
    filled: Connection, settings: Settings, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(told, "record_threads", crash)
        with pytest.raises(KeyboardInterrupt):
            digest(filled, settings)
    filled.rollback()
    assert digest(filled, settings).messages == 0
    change(filled)
    digest(filled, settings, day=1)
    assert len(slack.messages) == 3


# ---------------------------------------------------------------------- whom it is told


def test_a_team_hears_in_its_own_channel_of_what_it_has_to_do(
    filled: Connection, tmp_path: Path, slack: Slack
) -> None:
    channels = "{channels: {engineering: '#eng', sales: '#money', finance: '#money'}}"
    settings = policy(tmp_path, slack, channels)
    classify(filled, settings, AS_OF)
    digest(filled, settings)
    digest(filled, settings)
    by_channel = {m["channel"]: m for m in slack.messages}
    assert set(by_channel) == {MAIN, "#eng", "#money"}
    assert len(slack.messages) == 3
    (eng,), (money,) = slack.texts("#eng"), slack.texts("#money")
    assert "encode_4k" in eng
    assert "Nordlicht" not in eng
    assert "for finance and sales" in money
    assert "encode_4k" not in money
    # A day without news for a team is silent there.
    digest(filled, settings, day=1)
    assert len(slack.texts("#eng")) == 1
    assert len(slack.texts(MAIN)) == 2


def test_test_mode_posts_everything_to_one_channel_and_nothing_twice(
    filled: Connection, tmp_path: Path, slack: Slack
) -> None:
    text = "{test_channel: C0PRIVATE1, channels: {engineering: '#eng', high: '#urgent'}}"
    settings = policy(tmp_path, slack, text)
    classify(filled, settings, AS_OF)
    severe(filled)
    for _ in range(2):
        publish_alerts(filled, settings, AS_OF)
        digest(filled, settings)
    assert {m["channel"] for m in slack.messages} == {"C0PRIVATE1"}
    meant = " ".join(slack.texts())
    for channel in (MAIN, "#eng", "#urgent"):
        assert f"Test mode: meant for {channel}." in meant
    posted = len(slack.messages)
    # What was tried out is told for real once test mode is off.
    real = policy(tmp_path, slack, text.replace("test_channel: C0PRIVATE1, ", ""))
    publish_alerts(filled, real, AS_OF)
    assert [m["channel"] for m in slack.messages[:-posted]] == ["#urgent"]


# ---------------------------------------------------------------------- at once


def severe(conn: Connection, count: int = 1, severity: str = "high") -> None:
    rows = [
        Row(
            f"severe-{severity}-{number}",
            f"cus_Severe{number:04d}",
            severity=severity,
            leakage_amount=Decimal(900 - number),
            priority_score=Decimal(900 - number),
            first_detected_at=AS_OF,
        )
        for number in range(count)
    ]
    insert(conn, "marts.fct_leakage_detections", rows)


def alerts(conn: Connection, settings: Settings, days: int = 0) -> AlertResult:
    return publish_alerts(conn, settings, AS_OF + timedelta(days=days))


def test_a_severe_new_finding_is_told_at_once_and_once(
    filled: Connection, settings: Settings, slack: Slack
) -> None:
    severe(filled)
    assert [alerts(filled, settings).posted for _ in range(2)] == [1, 0]
    assert alerts(filled, settings, days=1).severe == 0
    ((text,),) = [slack.texts()]
    assert "*High, new*" in text
    assert "cus_Severe0000: Billed below the price in force, $900.00 in closed periods" in text
    # The digest of that day lists it too; what changes later is answered in the alert's thread.
    digest(filled, settings)
    execute(
        filled,
        "update marts.fct_leakage_detections set leakage_amount = 2000"
        " where detection_id = 'severe-high-0'",
    )
    digest(filled, settings, day=1)
    (answer,) = [m for m in slack.messages if "thread_ts" in m]
    assert answer["thread_ts"] == slack.messages[-1]["ts"]


def test_a_finding_that_becomes_critical_is_answered_where_it_was_told_and_shown_again(
    filled: Connection, settings: Settings, slack: Slack
) -> None:
    severe(filled)
    alerts(filled, settings)
    execute(
        filled,
        "update marts.fct_leakage_detections set severity = 'critical'"
        " where detection_id = 'severe-high-0'",
    )
    alerts(filled, settings)
    newest, first = slack.messages
    assert newest["thread_ts"] == first["ts"]
    assert newest["reply_broadcast"] is True


def test_a_night_full_of_severe_news_tells_the_costliest_and_counts_the_rest(
    filled: Connection, settings: Settings, slack: Slack
) -> None:
    severe(filled, count=9)
    result = alerts(filled, settings)
    assert (result.severe, result.posted, result.note) == (9, 5, "4 more stand in the digest.")
    assert all("cus_Severe0008" not in text for text in slack.texts())
    told_later = digest(filled, settings).text_path.read_text("utf-8")
    assert "and 7 more" in told_later


@pytest.mark.parametrize(
    ("text", "channels"),
    [
        ("{}", [MAIN]),
        ("{channel: '#audit'}", ["#audit"]),
        ("{channels: {high: '#urgent'}}", ["#urgent"]),
        ("{channels: {high: '#urgent', finance: '#money'}}", ["#money", "#urgent"]),
        ("{channels: {sales: '#sales', critical: '#fire'}}", [MAIN]),
        ("{at_once: critical}", []),
        ("{at_once: never}", []),
    ],
)
def test_the_policy_names_the_channels_and_the_severity(
    filled: Connection, tmp_path: Path, slack: Slack, text: str, channels: list[str]
) -> None:
    severe(filled)
    alerts(filled, policy(tmp_path, slack, text))
    assert sorted(m["channel"] for m in slack.messages) == channels


@pytest.mark.parametrize("arrived", [True, False])
def test_an_alert_whose_confirmation_was_lost_is_told_once(
    filled: Connection, settings: Settings, slack: Slack, arrived: bool
) -> None:
    severe(filled)
    slack.post_replies = [Reply(500, {"ok": False, "error": "fatal_error"}, after_posting=arrived)]
    with pytest.raises(TransientFailure):
        alerts(filled, settings)
    alerts(filled, settings)
    assert len(slack.messages) == 1


def test_an_instruction_or_mention_in_a_name_stays_a_name(
    filled: Connection, settings: Settings, slack: Slack
) -> None:
    severe(filled)
    insert(
        filled,
        "marts.dim_customers",
        [{**company.customers()[0], "customer_id": "cus_Severe0000", "name": "<!channel> & co"}],
    )
    alerts(filled, settings)
    (text,) = slack.texts()
    assert "&lt;!channel&gt; &amp; co" in text
    assert "<!" not in text
    assert "secret" not in str(slack.messages)

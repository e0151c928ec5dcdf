"""The digest tells the night in one message, harmless to read, and is posted exactly once."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2.extensions
import pytest

from leakage_pipeline.failures import PermanentFailure, TransientFailure
from leakage_pipeline.publishing.digest import DigestResult, publish_digest
from leakage_pipeline.publishing.digest_message import Changes, DigestContent, build_digest
from leakage_pipeline.publishing.leaks import Leak, group_leaks
from leakage_pipeline.publishing.slack_message import SlackMessage
from leakage_pipeline.publishing.topics import find_topics
from leakage_pipeline.settings import Settings
from tests.unit.classification.examples import finding
from tests.unit.publishing import sample, slack_server
from tests.unit.publishing.sample import AS_OF
from tests.unit.publishing.slack_server import Reply, Slack

Connection = psycopg2.extensions.connection
TOKEN = {"SLACK_BOT_TOKEN": "xoxb-secret-token"}


@pytest.fixture
def slack() -> Iterator[Slack]:
    with slack_server.serve() as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path, slack: Slack) -> Settings:
    return sample.settings(tmp_path, **TOKEN, SLACK_API_BASE_URL=slack.base_url)


def ledger(conn: Connection) -> list[tuple[Any, ...]]:
    with conn.cursor() as cursor:
        cursor.execute("select key, status, remote_id, sent_at from ops.publications")
        return cursor.fetchall()


def texts(message: SlackMessage) -> str:
    return json.dumps(message.blocks, ensure_ascii=False)


def content(leaks: list[Leak], *warnings: str, company: str = "Acme") -> DigestContent:
    new = find_topics(leaks, [], {})
    changes = Changes(
        since=None, new=new, changed=[], gone=[], recovered=[], given_back=[], unchanged=0
    )
    return DigestContent(company, "usd", AS_OF, AS_OF, leaks, changes, warnings)


def publish(conn: Connection, settings: Settings) -> DigestResult:
    return publish_digest(conn, settings, AS_OF)


# ---------------------------------------------------------------------- the message


def test_one_broken_endpoint_is_one_line(filled: Connection, tmp_path: Path) -> None:
    result = publish(filled, sample.settings(tmp_path))
    text = result.text_path.read_text(encoding="utf-8")
    assert text.count("encode_4k") == 1
    assert (
        "4 customers, $13,160.00 in closed periods, $6,580.00 so far in open ones, "
        "running at $6,580.00 a month"
    ) in text
    # Its customers are not listed one by one.
    assert "Kestrel Logistics" not in text
    assert "Nordlicht GmbH: Usage above the included quantity not billed, €350.00" in text


def test_totals_stand_apart_by_direction_basis_and_currency(
    filled: Connection, tmp_path: Path
) -> None:
    text = publish(filled, sample.settings(tmp_path)).text_path.read_text(encoding="utf-8")
    for line in (
        (
            "• Measured: $13,460.00 in closed periods, $6,580.00 so far in open ones, "
            "running at $6,680.00 a month (6 findings, 6 customers)"
        ),
        "• Measured: €350.00 in closed periods (1 finding, 1 customer)",
        "• Measured: ¥1,000 in closed periods (1 finding, 1 customer)",
        "• Estimated: $199.00 in closed periods",
        "• Measured: $569.00 in closed periods (2 findings, 2 customers)",
    ):
        assert line in text
    assert text.index("Leaks") < text.index("Overbilled customers")


def test_names_from_outside_cannot_mention_link_or_command() -> None:
    names = ["<!channel>", "<https://evil.example|Click>", "Tom & <@U123> Ltd"]
    leaks = group_leaks(
        [finding(detection_id=name, customer_id=name, customer_name=name) for name in names],
        AS_OF,
    )
    message = build_digest(content(leaks, "check <!here> failed", company="A <b> & C"))
    assert "<!" not in texts(message)
    assert "<@" not in texts(message)
    assert "<http" not in texts(message)
    assert "&lt;!channel&gt;" in texts(message)
    assert "Tom &amp; &lt;@U123&gt; Ltd" in texts(message)
    assert message.text.startswith("A &lt;b&gt; &amp; C: 3 leaks")
    assert "<!channel>" in message.as_text()


def test_a_huge_night_stays_within_slack_s_limits() -> None:
    many = [
        finding(
            detection_id=str(number),
            customer_id=str(number),
            customer_name="&" * 500,
            currency=f"{chr(97 + number % 26)}{chr(97 + number // 26 % 26)}d",
        )
        for number in range(600)
    ]
    message = build_digest(content(group_leaks(many, AS_OF)))
    assert len(message.blocks) <= 50
    for block in message.blocks:
        if block["type"] == "section":
            assert len(block["text"]["text"]) <= 3000
            assert not block["text"]["text"].endswith("&am")


def test_a_night_without_findings_says_so() -> None:
    message = build_digest(content([]))
    assert "nothing found" in message.text


def test_failed_checks_stand_in_the_message() -> None:
    told = build_digest(content([], "A check of marts.x failed: totals."))
    assert "*Please note*" in texts(told)


def test_what_people_dismissed_is_not_told_again(filled: Connection, tmp_path: Path) -> None:
    with filled.cursor() as cursor:
        cursor.execute(
            "insert into ops.detection_state (detection_id, status, updated_by, updated_at)"
            " values ('overage-2', 'dismissed', 'jane', now())"
        )
    filled.commit()
    text = publish(filled, sample.settings(tmp_path)).text_path.read_text(encoding="utf-8")
    assert "Nordlicht" not in text


# ---------------------------------------------------------------------- the posting


def test_without_a_token_the_message_is_written_as_it_would_be_posted(
    filled: Connection, tmp_path: Path
) -> None:
    result = publish(filled, sample.settings(tmp_path))
    assert not result.sent
    assert result.json_path.parent == tmp_path / "home" / "reports"
    body = json.loads(result.json_path.read_text(encoding="utf-8"))
    assert body["channel"] == "#revenue-leakage"
    assert body["blocks"][0]["type"] == "header"


def test_a_repeated_run_posts_nothing(filled: Connection, settings: Settings, slack: Slack) -> None:
    first, second = publish(filled, settings), publish(filled, settings)
    assert (first.sent, second.sent) == (True, False)
    assert len(slack.messages) == 1
    assert slack.messages[0]["blocks"] == json.loads(first.json_path.read_text())["blocks"]
    ((key, status, remote_id, sent_at),) = ledger(filled)
    assert key == "digest/#revenue-leakage/2026-11-20"
    assert (status, remote_id, sent_at) == ("sent", first.remote_id, AS_OF)


def test_the_next_day_has_its_own_message(
    filled: Connection, settings: Settings, slack: Slack
) -> None:
    publish(filled, settings)
    publish_digest(filled, settings, AS_OF + timedelta(days=1))
    assert len(slack.messages) == 2


def test_the_channel_can_be_named(filled: Connection, tmp_path: Path, slack: Slack) -> None:
    named = sample.settings(
        tmp_path,
        **TOKEN,
        SLACK_API_BASE_URL=slack.base_url,
        SLACK_CHANNEL="#finance",
    )
    publish(filled, named)
    assert slack.messages[0]["channel"] == "#finance"


def test_a_rate_limit_is_waited_for(filled: Connection, settings: Settings, slack: Slack) -> None:
    body = {"ok": False, "error": "ratelimited"}
    slack.post_replies = [Reply(429, body, {"retry-after": "0"})]
    assert publish(filled, settings).sent
    assert len(slack.messages) == 1


@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize(
    "broken",
    [
        Reply(500, {"ok": False, "error": "internal_error"}),
        Reply(200, {"ok": False, "error": "fatal_error"}),
        Reply(hang_up=True),
        Reply(502, "<html>Bad gateway</html>"),
        Reply(200, "<html>a proxy's page</html>"),
        Reply(200, "[]"),
        Reply(200, '{"ok": true, "ts": "17', cut=True),
        Reply(200, {"ok": True}),
    ],
)
def test_a_lost_answer_is_looked_up_before_anything_is_sent_again(
    filled: Connection, settings: Settings, slack: Slack, broken: Reply, arrived: bool
) -> None:
    slack.post_replies = [replace(broken, after_posting=arrived)]
    with pytest.raises(TransientFailure, match="did not confirm"):
        publish(filled, settings)
    assert ledger(filled)[0][1] == "planned"
    again = publish(filled, settings)
    assert again.sent is not arrived
    assert len(slack.messages) == 1
    assert ledger(filled)[0][1] == "sent"
    assert again.remote_id == slack.messages[0]["ts"]


def test_when_slack_does_not_let_us_look_nothing_is_sent(
    filled: Connection, settings: Settings, slack: Slack
) -> None:
    slack.post_replies = [Reply(hang_up=True, after_posting=True)]
    slack.history_error = "missing_scope"
    for _ in range(2):
        with pytest.raises(TransientFailure):
            publish(filled, settings)
    assert len(slack.messages) == 1


def test_a_refusal_is_one_clear_message_without_the_token_and_may_be_tried_again(
    filled: Connection, settings: Settings, slack: Slack
) -> None:
    slack.post_replies = [Reply(200, {"ok": False, "error": "invalid_auth"})]
    with pytest.raises(PermanentFailure, match="invalid_auth") as caught:
        publish(filled, settings)
    assert "xoxb" not in str(caught.value)
    assert ledger(filled)[0][1] == "failed"
    assert publish(filled, settings).sent


def test_a_server_that_is_not_there_is_a_transient_failure(
    filled: Connection, tmp_path: Path
) -> None:
    nowhere = sample.settings(tmp_path, **TOKEN, SLACK_API_BASE_URL="http://127.0.0.1:9/api/")
    with pytest.raises(TransientFailure, match="could not be reached"):
        publish(filled, nowhere)

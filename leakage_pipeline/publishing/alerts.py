"""What is severe and new is told at once, after the audit that found it, in a message of its own.

Its thread takes what follows. A night that finds many tells the costliest ones; the rest stands in
the digest.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.publishing import told
from leakage_pipeline.publishing.digest import read_night
from leakage_pipeline.publishing.digest_message import build_alert
from leakage_pipeline.publishing.slack_sender import SlackPoster, main_channel, target_for
from leakage_pipeline.publishing.topics import Topic, severity_rank
from leakage_pipeline.settings import Settings

_NEW_WITHIN = timedelta(hours=24)
_MOST = 5


@dataclass(frozen=True)
class AlertResult:
    """How many topics were severe and new, and how many messages this run posted about them."""

    severe: int
    posted: int
    note: str


def publish_alerts(conn: Connection, settings: Settings, as_of: datetime) -> AlertResult:
    """Tell the newest audit's severe topics, each once per channel.

    Args:
        conn: Warehouse connection.
        settings: Slack policy and token.
        as_of: The audit's instant.

    Raises:
        PermanentFailure: Slack refused one.
        TransientFailure: Slack could not be reached, or did not confirm.
    """
    threshold = settings.policy.slack.at_once
    if threshold == "never":
        return AlertResult(0, 0, "policy.slack.at_once is never.")
    told.create_tables(conn)
    severe = [
        topic
        for topic in read_night(conn, as_of).topics
        if severity_rank(topic.state.severity) >= severity_rank(threshold)
        and as_of - topic.first_detected_at < _NEW_WITHIN
    ]
    poster = SlackPoster(conn, settings, as_of)
    if not poster.may_post:
        return AlertResult(len(severe), 0, "No SLACK_BOT_TOKEN: not posted.")
    posted = sum(_tell(conn, settings, as_of, poster, topic) for topic in severe[:_MOST])
    left = len(severe) - _MOST
    note = f"{left} more stand in the digest." if left > 0 else ""
    return AlertResult(len(severe), posted, note)


def _tell(
    conn: Connection, settings: Settings, as_of: datetime, poster: SlackPoster, topic: Topic
) -> int:
    posted = 0
    for channel in _channels(settings, topic):
        target = target_for(settings, channel)
        thread = told.read_threads(conn, target.name).get(topic.key)
        message = build_alert(settings.company, topic, as_of)
        # What was told before at a lower severity is answered there, and shown in the channel.
        outcome = poster.post(
            target,
            f"alert/{topic.key}/{topic.state.severity}",
            message,
            thread_ts=thread,
            broadcast=True,
        )
        if outcome.remote_id and thread is None:
            told.record_threads(conn, target.name, [topic.key], outcome.remote_id, as_of)
        posted += outcome.sent
    return posted


def _channels(settings: Settings, topic: Topic) -> list[str]:
    """The severity's own channel when the policy names one, and the channel of who has to act."""
    named = settings.policy.slack.channels
    wanted = (named.get(topic.state.severity), named.get(topic.owner.value))  # type: ignore[call-overload]
    found = dict.fromkeys(channel for channel in wanted if channel)
    return list(found) or [main_channel(settings)]

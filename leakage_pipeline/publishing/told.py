"""What Slack was told, and in which thread: `ops.digest_topics` and `ops.slack_threads`.

A digest is compared with the newest one of an earlier day, so that a repeated run of the same day
says the same.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class
from psycopg2.extras import execute_values

from leakage_pipeline.publishing.topics import Topic, TopicState
from leakage_pipeline.warehouse.tables import TableSpec

DIGEST_TOPICS = TableSpec(
    schema="ops",
    name="digest_topics",
    arrow_schema=pa.schema(
        [
            ("channel", pa.string()),
            ("day", pa.date32()),
            ("topic", pa.string()),
            ("state", pa.string()),
            ("told_at", pa.timestamp("us", "UTC")),
        ]
    ),
    primary_key=("channel", "day", "topic"),
    comment="What each day's digest said of each topic; a topic '' marks a digest without any.",
    json_columns=frozenset({"state"}),
)
SLACK_THREADS = TableSpec(
    schema="ops",
    name="slack_threads",
    arrow_schema=pa.schema(
        [
            ("channel", pa.string()),
            ("topic", pa.string()),
            ("thread_ts", pa.string()),
            ("opened_at", pa.timestamp("us", "UTC")),
        ]
    ),
    primary_key=("channel", "topic"),
    comment="The message that first told of a topic: what changes is answered in its thread.",
)
_NONE = ""
_KEPT_DAYS = 8


@dataclass(frozen=True)
class EarlierDigest:
    """The newest digest of an earlier day."""

    told_at: datetime
    topics: Mapping[str, TopicState]


def create_tables(conn: Connection) -> None:
    """Create both tables when they are missing, and commit."""
    DIGEST_TOPICS.create(conn)
    SLACK_THREADS.create(conn)


def earlier_digest(conn: Connection, channel: str, day: date) -> EarlierDigest | None:
    """Return what the channel's newest digest before this day said; None when there was none."""
    with conn.cursor() as cursor:
        cursor.execute(
            "select topic, state::text, told_at from ops.digest_topics"
            " where channel = %(channel)s and day = ("
            "select max(day) from ops.digest_topics where channel = %(channel)s and day < %(day)s)",
            {"channel": channel, "day": day},
        )
        rows = cursor.fetchall()
    if not rows:
        return None
    told = {topic: _state(json.loads(state)) for topic, state, _ in rows if topic != _NONE}
    return EarlierDigest(max(row[2] for row in rows), told)


def read_threads(conn: Connection, channel: str) -> dict[str, str]:
    """Return the thread of every topic that the channel was told of."""
    with conn.cursor() as cursor:
        cursor.execute(
            "select topic, thread_ts from ops.slack_threads where channel = %s", (channel,)
        )
        return dict(cursor.fetchall())


def record_threads(
    conn: Connection, channel: str, topics: Iterable[str], thread_ts: str, as_of: datetime
) -> None:
    """Keep the message that first told of these topics, and commit; a topic keeps its first."""
    rows = [(channel, topic, thread_ts, as_of) for topic in topics]
    if rows:
        with conn.cursor() as cursor:
            execute_values(
                cursor,
                "insert into ops.slack_threads (channel, topic, thread_ts, opened_at) values %s"
                " on conflict (channel, topic) do nothing",
                rows,
            )
    conn.commit()


def record_digest(
    conn: Connection, channel: str, day: date, topics: Iterable[Topic], as_of: datetime
) -> None:
    """Keep what this day's digest says of every topic, and commit. Old days are dropped."""
    rows = [
        (channel, day, topic.key, json.dumps(asdict(topic.state), default=str), as_of)
        for topic in topics
    ] or [(channel, day, _NONE, "{}", as_of)]
    with conn.cursor() as cursor:
        cursor.execute(
            "delete from ops.digest_topics where channel = %(channel)s"
            " and (day = %(day)s or day < %(day)s - %(kept)s)",
            {"channel": channel, "day": day, "kept": _KEPT_DAYS},
        )
        execute_values(
            cursor,
            "insert into ops.digest_topics (channel, day, topic, state, told_at) values %s",
            rows,
        )
    conn.commit()


def _state(stored: Mapping[str, object]) -> TopicState:
    values = dict(stored)
    values["closed_amount"] = Decimal(str(values["closed_amount"]))
    values["detections"] = tuple(values["detections"])  # type: ignore[arg-type] # ours
    return TopicState(**values)  # type: ignore[arg-type]

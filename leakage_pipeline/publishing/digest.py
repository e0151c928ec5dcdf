"""The daily digest: what is new, changed and recovered since the channel's last one, and threads.

One message per channel and day: the main channel hears of everything, an audience's own channel of
what that team has to do. What changed is answered in the thread in which it was first told.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class
from psycopg2.extras import RealDictCursor

from leakage_pipeline.classification.findings import Incident, read_findings, read_incidents
from leakage_pipeline.classification.schema import Owner
from leakage_pipeline.classification.wording import instant
from leakage_pipeline.publishing import told
from leakage_pipeline.publishing.digest_message import (
    Changes,
    DigestContent,
    build_digest,
    build_update,
)
from leakage_pipeline.publishing.files import reports_folder, write_text
from leakage_pipeline.publishing.leaks import Leak, group_leaks
from leakage_pipeline.publishing.review_state import dismissed_ids
from leakage_pipeline.publishing.slack_message import SlackMessage
from leakage_pipeline.publishing.slack_sender import (
    SlackPoster,
    Target,
    event_metadata,
    main_channel,
    target_for,
)
from leakage_pipeline.publishing.topics import Topic, TopicState, find_topics
from leakage_pipeline.settings import Settings

_FIRST_WINDOW = timedelta(days=1)
_OLD_AUDIT = timedelta(hours=30)

_ACTIONS = "select detection_id, next_action from ops.classifications"
_RECOVERED = """
    select leakage_type, lower(currency) as currency, sum(recovered_amount) as amount,
        count(distinct customer_id) as customers
    from marts.fct_revenue_recovered
    where recovered_at >= %(since)s and recovered_at < %(until)s and recovered_amount > 0
    group by 1, 2
    order by 3 desc, 1
"""
_GIVEN_BACK = """
    select leakage_type, lower(currency) as currency, sum(corrected_amount) as amount,
        count(distinct customer_id) as customers
    from marts.fct_overbilling_corrected
    where corrected_at >= %(since)s and corrected_at < %(until)s and corrected_amount > 0
    group by 1, 2
    order by 3 desc, 1
"""


@dataclass(frozen=True)
class DigestResult:
    """What became of the digest, and where it can be read."""

    sent: bool
    note: str
    channel: str
    remote_id: str | None
    messages: int
    """How many were posted by this run, answers in threads included."""
    json_path: Path
    text_path: Path


@dataclass(frozen=True)
class Night:
    """What the newest audit says, read once for every channel."""

    leaks: Sequence[Leak]
    incidents: Sequence[Incident]
    topics: Sequence[Topic]
    dismissed: frozenset[str]
    audited_at: datetime


def read_night(conn: Connection, as_of: datetime) -> Night:
    """Read the newest audit's findings, those that people dismissed left out."""
    dismissed = dismissed_ids(conn)
    leaks = group_leaks((f for f in read_findings(conn) if f.detection_id not in dismissed), as_of)
    incidents = read_incidents(conn)
    with conn.cursor() as cursor:
        cursor.execute(_ACTIONS)
        actions: Mapping[str, str] = dict(cursor.fetchall())
        cursor.execute("select max(as_of) from raw_business.audit_settings")
        (audited_at,) = cursor.fetchone() or (None,)
    topics = find_topics(leaks, incidents, actions)
    return Night(leaks, incidents, topics, dismissed, audited_at or as_of)


def publish_digest(
    conn: Connection, settings: Settings, as_of: datetime, warnings: Sequence[str] = ()
) -> DigestResult:
    """Compose the day's digest of the newest audit, publish it once, and answer in threads.

    Args:
        conn: Warehouse connection.
        settings: Company, Slack policy and token, home folder.
        as_of: When the digest is told; its day in the policy's time zone is the message's key.
        warnings: Failed checks in plain words; they stand in the message.

    Raises:
        PermanentFailure: Slack refused it.
        TransientFailure: Slack could not be reached, or did not confirm.
    """
    told.create_tables(conn)
    night = read_night(conn, as_of)
    day = as_of.astimezone(ZoneInfo(settings.policy.slack.timezone)).date()
    poster = SlackPoster(conn, settings, as_of)
    if as_of - night.audited_at > _OLD_AUDIT:
        late = f"The newest audit is of {instant(night.audited_at)}: none has run since."
        warnings = [late, *warnings]
    main = target_for(settings, main_channel(settings))
    content = DigestContent(
        company=settings.company,
        reporting_currency=settings.reporting_currency,
        as_of=as_of,
        audited_at=night.audited_at,
        leaks=night.leaks,
        changes=_changes(conn, main, day, night, as_of, None),
        warnings=warnings,
    )
    telling = _Telling(conn, poster, day, as_of)
    message = build_digest(content)
    paths = _write(settings, main, day, message)
    outcome, posted = telling.tell(main, message, content.changes, night.topics)
    for channel, owners in _audiences(settings, main).items():
        posted += _tell_audience(telling, settings, content, night, owners, channel)
    return DigestResult(
        sent=outcome.sent,
        note=outcome.note,
        channel=main.name,
        remote_id=outcome.remote_id,
        messages=posted,
        json_path=paths[0],
        text_path=paths[1],
    )


def _audiences(settings: Settings, main: Target) -> dict[str, frozenset[Owner]]:
    """The teams by their channel; two teams may share one."""
    teams: defaultdict[str, set[Owner]] = defaultdict(set)
    for reader, channel in settings.policy.slack.channels.items():
        if reader in set(Owner) and channel != main.meant_for:
            teams[channel].add(Owner(reader))
    return {channel: frozenset(teams[channel]) for channel in sorted(teams)}


def _tell_audience(
    telling: "_Telling",
    settings: Settings,
    content: DigestContent,
    night: Night,
    owners: frozenset[Owner],
    channel: str,
) -> int:
    """Tell a team's own channel of what the team has to do; nothing when nothing differs."""
    target = target_for(settings, channel)
    changes = _changes(telling.conn, target, telling.day, night, telling.as_of, owners)
    topics = [topic for topic in night.topics if topic.owner in owners]
    if changes.is_empty:
        told.record_digest(telling.conn, target.name, telling.day, topics, telling.as_of)
        return 0
    message = build_digest(
        replace(
            content,
            changes=changes,
            audience=" and ".join(sorted(owner.value for owner in owners)),
            leaks=[leak for leak in night.leaks if _belongs(leak, topics)],
        )
    )
    _, posted = telling.tell(target, message, changes, topics)
    return posted


@dataclass(frozen=True)
class _Telling:
    """Posts a channel's digest and the answers in its threads, and keeps what was told."""

    conn: Connection
    poster: SlackPoster
    day: date
    as_of: datetime

    def tell(
        self, target: Target, message: SlackMessage, changes: Changes, topics: Sequence[Topic]
    ) -> tuple[Any, int]:
        """Post, answer, record; returns the digest's outcome and how many messages went out."""
        outcome = self.poster.post(target, f"digest/{self.day:%Y-%m-%d}", message)
        posted = int(outcome.sent)
        if outcome.remote_id:
            told.record_threads(
                self.conn,
                target.name,
                [topic.key for topic in changes.new],
                outcome.remote_id,
                self.as_of,
            )
        told.record_digest(self.conn, target.name, self.day, topics, self.as_of)
        if outcome.remote_id:
            posted += self._answer(target, changes)
        return outcome, posted

    def _answer(self, target: Target, changes: Changes) -> int:
        """One answer per thread, however many of its topics have changed."""
        threads = told.read_threads(self.conn, target.name)
        changed: defaultdict[str, list[tuple[Topic, TopicState]]] = defaultdict(list)
        gone: defaultdict[str, list[TopicState]] = defaultdict(list)
        for topic, before in changes.changed:
            thread = threads.get(topic.key) or threads.get(before.key)
            if thread:
                changed[thread].append((topic, before))
                told.record_threads(self.conn, target.name, [topic.key], thread, self.as_of)
        for state in changes.gone:
            if state.key in threads:
                gone[threads[state.key]].append(state)
        posted = 0
        for thread in sorted({*changed, *gone}):
            update = build_update(changed[thread], gone[thread], self.as_of)
            key = f"update/{self.day:%Y-%m-%d}/{thread}"
            posted += self.poster.post(target, key, update, thread_ts=thread).sent
        return posted


def _changes(
    conn: Connection,
    target: Target,
    day: date,
    night: Night,
    as_of: datetime,
    owners: frozenset[Owner] | None,
) -> Changes:
    """Compare the night with what this channel was told on an earlier day."""
    topics = [topic for topic in night.topics if owners is None or topic.owner in owners]
    earlier = told.earlier_digest(conn, target.name, day)
    before = earlier.topics if earlier else {}
    by_detection = {detection: state for state in before.values() for detection in state.detections}
    matched = [(topic, _told_as(topic, before, by_detection)) for topic in topics]
    known = [(topic, state) for topic, state in matched if state is not None]
    changed = [(topic, state) for topic, state in known if topic.state.has_changed_since(state)]
    present = {key for topic in night.topics for key in (topic.key, *topic.state.detections)}
    gone = [
        state
        for key, state in before.items()
        if key not in present
        and present.isdisjoint(state.detections)
        and not night.dismissed.issuperset(state.detections)
    ]
    since = earlier.told_at if earlier else None
    window = (since or as_of - _FIRST_WINDOW, as_of)
    return Changes(
        since=since,
        new=[topic for topic, state in matched if state is None],
        changed=changed,
        gone=gone,
        recovered=[] if owners else _between(conn, _RECOVERED, *window),
        given_back=[] if owners else _between(conn, _GIVEN_BACK, *window),
        unchanged=len(known) - len(changed),
    )


def _told_as(
    topic: Topic, before: Mapping[str, TopicState], by_detection: Mapping[str, TopicState]
) -> TopicState | None:
    """What was said of it: an incident may have begun as a leak, or have one customer left."""
    if topic.key in before:
        return before[topic.key]
    shared = Counter(
        by_detection[detection].key
        for detection in topic.state.detections
        if detection in by_detection
    )
    return before[max(sorted(shared), key=shared.__getitem__)] if shared else None


def _between(
    conn: Connection, statement: str, since: datetime, until: datetime
) -> list[Mapping[str, Any]]:
    with conn.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute(statement, {"since": since, "until": until})
        return [dict(row) for row in cursor.fetchall()]


def _belongs(leak: Leak, topics: Sequence[Topic]) -> bool:
    return any(leak.newest.detection_id in topic.state.detections for topic in topics)


def _write(
    settings: Settings, target: Target, day: date, message: SlackMessage
) -> tuple[Path, Path]:
    """Write the digest beside the report, as it would be posted and as text."""
    folder = reports_folder(settings.home)
    key = f"digest/{target.name}/{day:%Y-%m-%d}"
    body = message.as_json(target.channel, event_metadata(key))
    return (
        write_text(folder / "slack_digest.json", body),
        write_text(folder / "slack_digest.txt", message.as_text()),
    )

"""Gathers what the nightly digest tells, from marts and `ops`, and publishes it."""

from collections.abc import Sequence
from datetime import datetime

from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.classification.findings import read_findings, read_incidents
from leakage_pipeline.publishing.leaks import group_leaks
from leakage_pipeline.publishing.review_state import dismissed_ids
from leakage_pipeline.publishing.slack_message import DigestContent, build_message
from leakage_pipeline.publishing.slack_sender import DigestResult, publish_digest
from leakage_pipeline.settings import Settings


def publish_nightly_digest(
    conn: Connection, settings: Settings, as_of: datetime, warnings: Sequence[str] = ()
) -> DigestResult:
    """Compose the digest of the latest audit and publish it once.

    Args:
        conn: Warehouse connection.
        settings: Company, Slack token and channel, home folder.
        as_of: The run's instant.
        warnings: Failed checks in plain words; they stand in the message.

    Raises:
        PermanentFailure: Slack refused it.
        TransientFailure: Slack could not be reached, or did not confirm.
    """
    dismissed = dismissed_ids(conn)
    findings = [f for f in read_findings(conn) if f.detection_id not in dismissed]
    content = DigestContent(
        company=settings.company,
        reporting_currency=settings.reporting_currency,
        as_of=as_of,
        leaks=group_leaks(findings, as_of),
        incidents=read_incidents(conn),
        warnings=warnings,
    )
    return publish_digest(conn, settings, as_of, build_message(content))

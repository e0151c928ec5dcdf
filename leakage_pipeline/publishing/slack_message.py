"""The nightly digest as a Slack message: incidents first, totals apart, names escaped.

Pure: rows in, Block Kit out. Sending is in `slack_sender`.
"""

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from leakage_pipeline.classification.finding_types import (
    LEAK,
    OPPORTUNITY,
    OVERBILLING,
    RISK,
)
from leakage_pipeline.classification.findings import Incident
from leakage_pipeline.classification.wording import day, instant, money, plural
from leakage_pipeline.publishing.leaks import Leak, Total, add_up
from leakage_pipeline.publishing.shared_causes import SharedCause, shared_causes

# Slack refuses a section over 3,000 characters, a header over 150 and more than 50 blocks.
_MAX_SECTION = 2900
_MAX_NAME = 60
_MAX_DESCRIPTION = 300
_MAX_INCIDENTS = 8
_MAX_LEAKS = 5
_NEW_WITHIN = timedelta(hours=24)

_HEADINGS = {
    LEAK: "Leaks",
    OVERBILLING: "Overbilled customers",
    RISK: "At risk",
    OPPORTUNITY: "Opportunities",
}
_BASIS_WORDS = {"measured": "measured", "estimated": "estimated", "at_risk": "at risk"}


@dataclass(frozen=True)
class DigestContent:
    """Everything that the digest tells."""

    company: str
    reporting_currency: str
    as_of: datetime
    leaks: Sequence[Leak]
    incidents: Sequence[Incident]
    warnings: Sequence[str] = ()
    """Failed checks and other doubts about the numbers, in plain words."""


@dataclass(frozen=True)
class SlackMessage:
    """What `chat.postMessage` gets, without the channel."""

    text: str
    blocks: list[dict[str, Any]]

    def as_json(self, channel: str, metadata: dict[str, Any]) -> str:
        """The request body, as it would be posted."""
        body = {
            "channel": channel,
            "text": self.text,
            "blocks": self.blocks,
            "metadata": metadata,
            "unfurl_links": False,
            "unfurl_media": False,
        }
        return json.dumps(body, indent=2, ensure_ascii=False) + "\n"

    def as_text(self) -> str:
        """The message as plain text, as a person would read it."""
        parts = [_plain(block) for block in self.blocks]
        return "\n\n".join(part for part in parts if part) + "\n"


def build_message(content: DigestContent) -> SlackMessage:
    """Compose the digest.

    Args:
        content: Leaks in order of priority, incidents, and warnings.

    Returns:
        The message. Amounts of different directions, bases and currencies are never added.
    """
    title = f"Revenue audit, {day(content.as_of)}"
    totals = add_up(content.leaks, content.reporting_currency)
    blocks = [_header(title), _section(_headline(content))]
    blocks += [_section(text) for text in _total_sections(totals)]
    causes = shared_causes(content.leaks, content.incidents, with_lone_sources=True)
    if causes:
        blocks += [{"type": "divider"}, _section(_cause_lines(causes))]
    for direction in (LEAK, OVERBILLING):
        text = _leak_lines(content.leaks, direction, {cause.incident_id for cause in causes})
        if text:
            blocks.append(_section(text))
    if content.warnings:
        lines = "\n".join(f"• {escape(_short(w, _MAX_DESCRIPTION))}" for w in content.warnings)
        blocks.append(_section(f"*Please note*\n{lines}"))
    blocks.append(_context(content))
    text = f"{escape(content.company)}: {_headline_plain(content)}"
    return SlackMessage(text=text, blocks=blocks)


def escape(text: str) -> str:
    """Make text from outside safe in mrkdwn: no mention, link or command can come out of it."""
    line = " ".join(text.split())
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _headline(content: DigestContent) -> str:
    return f"*{escape(_short(content.company, _MAX_NAME))}*: {_headline_plain(content)}"


def _headline_plain(content: DigestContent) -> str:
    counts = {
        direction: sum(leak.newest.direction == direction for leak in content.leaks)
        for direction in _HEADINGS
    }
    if not content.leaks:
        return "nothing found. Billed amounts match what customers should pay."
    new = sum(content.as_of - leak.first_detected_at < _NEW_WITHIN for leak in content.leaks)
    words = [
        plural(counts[LEAK], "leak"),
        f"{counts[OVERBILLING]:,} overbilled",
        plural(counts[RISK], "risk"),
        plural(counts[OPPORTUNITY], "opportunity", "opportunities"),
    ]
    shown = [word for word, count in zip(words, counts.values(), strict=True) if count]
    return f"{', '.join(shown)}; {new:,} found in the last day."


def _total_sections(totals: Sequence[Total]) -> list[str]:
    sections: list[str] = []
    for direction, heading in _HEADINGS.items():
        lines = [_total_line(total) for total in totals if total.direction == direction]
        if lines:
            sections.append("\n".join([f"*{heading}*", *lines]))
    return sections


def _total_line(total: Total) -> str:
    if total.currency is None:
        return f"• {plural(total.leaks, 'finding')} that nobody prices"
    parts = _amounts(total.closed_amount, total.open_amount, total.currency)
    if total.direction in (RISK, OPPORTUNITY):  # what stands open now, whatever its period
        parts = [money(total.closed_amount + total.open_amount, total.currency)]
    elif total.monthly_amount:
        parts.append(f"running at {money(total.monthly_amount, total.currency)} a month")
    count = f"{plural(total.leaks, 'finding')}, {plural(total.customers, 'customer')}"
    basis = _BASIS_WORDS.get(total.basis, total.basis)
    return f"• {basis.capitalize()}: {', '.join(parts)} ({count})"


def _amounts(closed: Decimal, running: Decimal, currency: str | None) -> list[str]:
    """What closed and open periods hold, without a part that holds nothing."""
    parts = [f"{money(closed, currency)} in closed periods"] if closed or not running else []
    if running:
        parts.append(f"{money(running, currency)} so far in open {'ones' if parts else 'periods'}")
    return parts


def _cause_lines(causes: Sequence[SharedCause]) -> str:
    lines = ["*Incidents*"]
    for cause in causes[:_MAX_INCIDENTS]:
        name = escape(_short(cause.cause, _MAX_NAME))
        since = f" since {day(cause.started_at)}" if cause.started_at else ""
        facts = [
            plural(cause.customers, "customer"),
            *_amounts(cause.closed_amount, cause.open_amount, cause.currency),
        ]
        if cause.monthly_amount:
            facts.append(f"running at {money(cause.monthly_amount, cause.currency)} a month")
        lines.append(f"• {cause.title}{f' ({name})' if name else ''}{since}: {', '.join(facts)}")
    return "\n".join([*lines, *_more(len(causes), _MAX_INCIDENTS, "incident")])


def _leak_lines(leaks: Sequence[Leak], direction: str, in_incidents: set[str]) -> str:
    single = [
        leak
        for leak in leaks
        if leak.newest.direction == direction and leak.newest.incident_id not in in_incidents
    ]
    if not single:
        return ""
    heading = "Single leaks, by priority" if direction == LEAK else "Overbilled, by priority"
    lines = [f"*{heading}*"]
    for leak in single[:_MAX_LEAKS]:
        finding = leak.newest
        amount = money(leak.closed_amount or leak.open_amount, finding.currency)
        periods = plural(len(leak.findings), "period")
        name = escape(_short(leak.customer, _MAX_NAME))
        lines.append(f"• {name}: {leak.title}, {amount} over {periods} ({leak.severity})")
    return "\n".join([*lines, *_more(len(single), _MAX_LEAKS, "finding")])


def _more(count: int, shown: int, noun: str) -> list[str]:
    return [f"and {plural(count - shown, 'more ' + noun)}"] if count > shown else []


def _context(content: DigestContent) -> dict[str, Any]:
    text = (
        f"As of {instant(content.as_of.astimezone(UTC))}. Leaks and overbilling, measured and "
        "estimated, and different currencies are never added up."
    )
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text}]}


def _header(text: str) -> dict[str, Any]:
    return {"type": "header", "text": {"type": "plain_text", "text": text, "emoji": False}}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": _fit(text), "verbatim": True}}


def _fit(text: str) -> str:
    """Cut at a line's end, so that no escaped character is cut in two."""
    if len(text) <= _MAX_SECTION:
        return text
    kept: list[str] = []
    size = 0
    for line in text.split("\n"):
        size += len(line) + 1
        if size > _MAX_SECTION:
            break
        kept.append(line)
    return "\n".join([*kept, "\N{HORIZONTAL ELLIPSIS}"])


def _short(text: str, limit: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _plain(block: dict[str, Any]) -> str:
    if block["type"] == "context":
        text = " ".join(element["text"] for element in block["elements"])
    else:
        text = block.get("text", {}).get("text", "")
    return html.unescape(str(text).replace("*", ""))

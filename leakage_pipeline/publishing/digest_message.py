"""What Slack is told: the daily digest, an alert at once, an update in a thread.

Pure: topics in, messages out. Amounts of different directions, bases and currencies are never
added, and names from outside are escaped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from leakage_pipeline.classification.finding_types import (
    LEAK,
    OPPORTUNITY,
    OVERBILLING,
    RISK,
    finding_type,
)
from leakage_pipeline.classification.wording import day, instant, money, plural
from leakage_pipeline.publishing.leaks import Leak, Total, add_up
from leakage_pipeline.publishing.slack_message import (
    SlackMessage,
    context,
    escape,
    header,
    section,
    short,
    within_limits,
)
from leakage_pipeline.publishing.topics import Topic, TopicState

_MAX_NAME = 60
_MAX_DESCRIPTION = 300
_MAX_INCIDENTS = 8
_MAX_SINGLE = 8

_HEADINGS = {
    LEAK: "Leaks",
    OVERBILLING: "Overbilled customers",
    RISK: "At risk",
    OPPORTUNITY: "Opportunities",
}
_BASIS_WORDS = {"measured": "measured", "estimated": "estimated", "at_risk": "at risk"}
_NEVER_ADDED = (
    "Leaks and overbilling, measured and estimated, and different currencies are never added up."
)


@dataclass(frozen=True)
class Changes:
    """What differs from the channel's last digest."""

    since: datetime | None
    """When the last digest was told; None for the first one."""
    new: Sequence[Topic]
    changed: Sequence[tuple[Topic, TopicState]]
    gone: Sequence[TopicState]
    """Told before and no longer found."""
    recovered: Sequence[Mapping[str, Any]]
    """Rows of leakage_type, currency, amount, customers."""
    given_back: Sequence[Mapping[str, Any]]
    """The same of what customers were billed too much and have back; never in a sum of leaks."""
    unchanged: int

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.new or self.changed or self.gone or self.recovered or self.given_back)


@dataclass(frozen=True)
class DigestContent:
    """Everything that the digest tells. `audience` narrows it to what one team does."""

    company: str
    reporting_currency: str
    as_of: datetime
    audited_at: datetime
    leaks: Sequence[Leak]
    changes: Changes
    warnings: Sequence[str] = ()
    """Failed checks and other doubts about the numbers, in plain words."""
    audience: str | None = None


def build_digest(content: DigestContent) -> SlackMessage:
    """Compose the digest: totals, then what is new, changed and recovered, incidents first."""
    title = f"Revenue audit, {day(content.as_of)}"
    if content.audience:
        title += f", for {content.audience}"
    company = escape(short(content.company, _MAX_NAME))
    headline = _headline(content)
    blocks = [header(title), section(f"*{company}*: {headline}")]
    if not content.audience:
        totals = add_up(content.leaks, content.reporting_currency)
        blocks += [section(text) for text in _total_sections(totals)]
    blocks += [section(text) for text in change_sections(content.changes) if text]
    if content.warnings:
        lines = "\n".join(f"• {escape(short(w, _MAX_DESCRIPTION))}" for w in content.warnings)
        blocks.append(section(f"*Please note*\n{lines}"))
    audited = instant(content.audited_at.astimezone(UTC))
    blocks.append(context(f"Audit of {audited}. {_NEVER_ADDED}"))
    return SlackMessage(text=f"{company}: {headline}", blocks=within_limits(blocks))


def build_alert(company: str, topic: Topic, audited_at: datetime) -> SlackMessage:
    """Compose what is told at once of a severe topic; its thread takes what follows."""
    state = topic.state
    line = topic_line(topic)
    todo = f"\nNext: {escape(topic.action)} ({topic.owner.value})" if topic.action else ""
    blocks = [
        section(f"*{state.severity.capitalize()}, new*\n{line}{todo}"),
        context(f"Audit of {instant(audited_at.astimezone(UTC))}. Changes follow in this thread."),
    ]
    return SlackMessage(text=f"{escape(short(company, _MAX_NAME))}: {line}", blocks=blocks)


def build_update(
    changed: Sequence[tuple[Topic, TopicState]], gone: Sequence[TopicState], as_of: datetime
) -> SlackMessage:
    """Compose an answer in the thread in which these topics were first told."""
    lines = [_changed_line(topic, told) for topic, told in changed]
    lines += [_gone_line(state) for state in gone]
    text = "\n".join([f"*{day(as_of)}*", *(f"• {line}" for line in lines)])
    return SlackMessage(text=text, blocks=[section(text)])


def change_sections(changes: Changes) -> list[str]:
    """What is new, changed, recovered and no longer found, each as one paragraph."""
    incidents = [topic for topic in changes.new if topic.is_incident]
    single = [topic for topic in changes.new if not topic.is_incident]
    changed = [_changed_line(topic, told) for topic, told in changes.changed]
    recovered = [_recovered_line(row, LEAK) for row in changes.recovered]
    given_back = [_recovered_line(row, OVERBILLING) for row in changes.given_back]
    gone = [_gone_line(state) for state in changes.gone]
    return [
        _listed("New incidents", [topic_line(topic) for topic in incidents], _MAX_INCIDENTS),
        _listed("New single findings", [topic_line(topic) for topic in single], _MAX_SINGLE),
        _listed("Changed", changed, _MAX_INCIDENTS),
        _listed("Recovered", recovered, _MAX_INCIDENTS),
        _listed("Given back, billed too much", given_back, _MAX_INCIDENTS),
        _listed("No longer found", gone, _MAX_INCIDENTS),
        _unchanged(changes),
    ]


def topic_line(topic: Topic) -> str:
    """One topic in one line."""
    state = topic.state
    who = escape(short(state.who, _MAX_NAME))
    amounts = _amounts(state.closed_amount, topic.open_amount, state.currency)
    if topic.monthly_amount:
        amounts.append(f"running at {money(topic.monthly_amount, state.currency)} a month")
    if not topic.is_incident:
        return f"{who}: {state.title}, {', '.join(amounts)} ({state.severity})"
    since = f" since {day(topic.started_at)}" if topic.started_at else ""
    facts = ", ".join([plural(state.customers, "customer"), *amounts])
    return f"{state.title}{f' ({who})' if who else ''}{since}: {facts} ({state.severity})"


def _changed_line(topic: Topic, told: TopicState) -> str:
    state = topic.state
    parts: list[str] = []
    if state.closed_amount != told.closed_amount:
        before = money(told.closed_amount, told.currency)
        parts.append(f"{before} → {money(state.closed_amount, state.currency)} in closed periods")
    if state.customers != told.customers:
        parts.append(f"{told.customers} → {plural(state.customers, 'customer')}")
    if state.severity != told.severity:
        parts.append(f"{told.severity} → {state.severity}")
    return f"{_name(state)}: {', '.join(parts)}"


def _gone_line(state: TopicState) -> str:
    amount = f", last {money(state.closed_amount, state.currency)}" if state.closed_amount else ""
    return f"{_name(state)}: no longer found{amount}"


def _recovered_line(row: Mapping[str, Any], direction: str) -> str:
    title = finding_type(row["leakage_type"] or "", direction).title
    customers = plural(row["customers"], "customer")
    return f"{title}: {money(row['amount'], row['currency'])} ({customers})"


def _name(state: TopicState) -> str:
    who = escape(short(state.who, _MAX_NAME))
    return f"{who}: {state.title}" if who else state.title


def _unchanged(changes: Changes) -> str:
    if not changes.unchanged or changes.since is None:
        return ""
    told = plural(changes.unchanged, "finding or incident", "findings and incidents")
    return f"{told} open and unchanged since {day(changes.since)}."


def _listed(heading: str, lines: Sequence[str], shown: int) -> str:
    if not lines:
        return ""
    more = [f"and {len(lines) - shown:,} more"] if len(lines) > shown else []
    return "\n".join([f"*{heading}*", *(f"• {line}" for line in lines[:shown]), *more])


def _headline(content: DigestContent) -> str:
    changes = content.changes
    counts = {
        direction: sum(leak.newest.direction == direction for leak in content.leaks)
        for direction in _HEADINGS
    }
    if not content.leaks and changes.is_empty:
        return "nothing found. Billed amounts match what customers should pay."
    words = [
        plural(counts[LEAK], "leak"),
        f"{counts[OVERBILLING]:,} overbilled",
        plural(counts[RISK], "risk"),
        plural(counts[OPPORTUNITY], "opportunity", "opportunities"),
    ]
    shown = [word for word, count in zip(words, counts.values(), strict=True) if count]
    if changes.is_empty:
        news = "nothing new"
    else:
        mended = len(changes.recovered) + len(changes.gone)
        news = f"{len(changes.new)} new, {len(changes.changed)} changed, {mended} recovered or gone"
    return f"{', '.join(shown) or 'no findings'}; {news}."


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
        amount = total.closed_amount + total.open_amount
        parts = [money(amount, total.currency) if amount else "amount not known"]
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

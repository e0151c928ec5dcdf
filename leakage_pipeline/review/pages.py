"""What the review page shows: rows from the warehouse, worded and formatted for the templates."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from markupsafe import Markup
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is the class

from leakage_pipeline.classification.finding_types import DIRECTIONS, finding_type
from leakage_pipeline.classification.wording import money, period, plural, readable
from leakage_pipeline.failures import PermanentFailure
from leakage_pipeline.publishing import charts, report_queries
from leakage_pipeline.publishing.arithmetic import calculation, charge_lines, facts, price_from
from leakage_pipeline.publishing.report_accuracy import accuracy_part
from leakage_pipeline.publishing.report_queries import STEPS
from leakage_pipeline.publishing.stripe_links import links_of
from leakage_pipeline.recovery import ledger
from leakage_pipeline.recovery.ledger import Action
from leakage_pipeline.recovery.messages import MAIL
from leakage_pipeline.review import decisions, queue, sample
from leakage_pipeline.review.queue import Filters, Row

PAGE_SIZE = 100
SEVERITIES = ("critical", "high", "medium", "low")
STATUSES = (
    *("new", "investigating", "approved", "actioned", "recovered"),
    *("dismissed", "written_off", "auto_resolved"),
)
_STEP_WORDS = {
    "review_assigned": "assigned it",
    "review_approved": "approved it",
    "review_dismissed": "dismissed it",
    "review_noted": "wrote a note",
    "review_undone": "took the last step back",
    "finding_reopened": "opened it again",
    "finding_auto_resolved": "no longer found it",
    "finding_actioned": "sent a correction",
    "finding_recovered": "saw the money come back",
}


def filters_of(query: Mapping[str, str]) -> Filters:
    """The filters that an address names; empty ones and unknown words show all."""

    def wanted(name: str) -> str | None:
        return query.get(name) or None

    word = query.get("status", "open")
    return Filters(
        status=None if word == "all" else (word,) if word in STATUSES else Filters.status,
        leakage_type=wanted("leakage_type"),
        direction=wanted("direction"),
        severity=wanted("severity"),
        customer_id=wanted("customer_id"),
        incident_id=wanted("incident_id"),
    )


def filtered(connection: Connection, query: Mapping[str, str], limit: int | None) -> list[Row]:
    """The findings that pass the filters of an address."""
    return queue.read_queue(connection, filters_of(query), limit)


def queue_page(connection: Connection, query: Mapping[str, str]) -> dict[str, Any]:
    """The queue and the choices to narrow it."""
    rows = filtered(connection, query, PAGE_SIZE + 1)
    return {
        "rows": [_queue_row(row) for row in rows[:PAGE_SIZE]],
        "more": len(rows) > PAGE_SIZE,
        "query": dict(query),
        "types": _choices(queue.present_types(connection)),
        "directions": _choices(DIRECTIONS),
        "severities": _choices(SEVERITIES),
        "statuses": [("open", "open"), ("all", "all"), *_choices(STATUSES)[1:]],
    }


def _choices(values: Sequence[str]) -> list[tuple[str, str]]:
    return [("", "all"), *((value, value.replace("_", " ")) for value in values)]


def _queue_row(row: Row) -> dict[str, Any]:
    return {
        **row,
        "title": finding_type(row["leakage_type"], row["direction"]).title,
        "amount": money(row["leakage_amount"], row["currency"]),
        "period": period(row["period_start"], row["period_end"]),
        "confidence": f"{row['confidence']:.2f}",
        "priority": f"{row['priority_score'] or 0:,.0f}",
    }


def finding_page(connection: Connection, wanted: str, *, test_mode: bool) -> dict[str, Any]:
    """One finding: arithmetic, links, advice, context, and what was decided so far."""
    row = queue.find(connection, wanted)
    entries = queue.history(connection, row["detection_id"])
    actions = ledger.of_finding(connection, row["detection_id"])
    ids = [row["customer_id"], row["subscription_id"]]
    tiers = report_queries.calculations(connection, _charge_ids(row["evidence"])).values()
    return {
        "finding": _queue_row(row),
        "calculation": [text for rows in tiers for text in calculation(rows)],
        "price_from": price_from(list(tiers)),
        "charges": charge_lines(row["evidence"], row["meter"], row["currency"]),
        "facts": facts(row["evidence"], row["currency"]),
        "actions": [_action(action) for action in actions],
        "releases": [action.action_id for action in actions if _can_be_released(action)],
        "links": links_of(ids, row["evidence"], test_mode=test_mode),
        "history": [
            {
                "at": f"{entry['at']:%Y-%m-%d %H:%M}",
                "actor": entry["actor"],
                "what": _STEP_WORDS.get(entry["action"], readable(entry["action"])),
                "before": (entry["before"] or {}).get("status"),
                "after": (entry["after"] or {}).get("status"),
                "note": (entry["after"] or {}).get("note"),
            }
            for entry in entries
        ],
    }


def _charge_ids(evidence: Mapping[str, Any]) -> list[str]:
    """The charges of a finding's evidence that `marts.fct_charge_calculation` takes apart."""
    charges = [one for value in evidence.values() if isinstance(value, list) for one in value]
    return sorted(
        {str(one["charge_id"]) for one in charges if isinstance(one, dict) and "charge_id" in one}
    )


def incidents_page(connection: Connection) -> dict[str, Any]:
    """What findings have in common: one row per cause."""
    shown = [
        {
            **row,
            "title": finding_type(row["leakage_type"], row["direction"]).title,
            "named": row["cause"] or row["source"] or row["meter"] or "one customer's own",
            "began": f"{row['started_at']:%Y-%m-%d}",
            "ended": f"{row['ended_at']:%Y-%m-%d}" if row["ended_at"] else None,
            "amount": money(row["leakage_amount"], row["currency"]),
            "monthly": money(row["monthly_leakage_amount"], row["currency"]),
        }
        for row in queue.incidents(connection)
    ]
    return {"incidents": shown[:PAGE_SIZE], "more": len(shown) > PAGE_SIZE}


def _trends(connection: Connection) -> list[dict[str, Any]]:
    """Twelve months of closed periods, a drawing per currency."""
    months: dict[str, list[charts.WeekPoint]] = {}
    for row in queue.monthly(connection):
        point = charts.WeekPoint(
            f"{row['month']:%b}",
            *(row[name] for name in ("leak_measured", "leak_estimated")),
            *(row[name] for name in ("over_measured", "over_estimated")),
        )
        months.setdefault(row["currency"], []).append(point)
    return [
        {
            "currency": currency.upper(),
            # Our own drawing, as the bridge is.
            "svg": Markup(charts.trend(f"trend-{currency}", currency, points)),  # noqa: S704
        }
        for currency, points in months.items()
    ]


def _can_be_released(action: Action) -> bool:
    return action.status == "planned" and action.held_because is None


def _action(action: Action) -> dict[str, Any]:
    """An action as a person decides about it: before and after, and the request as it leaves."""
    named = (("Billed for the period", "billed"), ("Meter", "metered"))
    changes = [
        (label, _shown(action.before[key], key, action), _shown(action.after[key], key, action))
        for label, key in named
        if key in action.before and key in action.after
    ]
    return {
        "action_id": action.action_id,
        "what": action.action.replace("_", " ").capitalize(),
        "status": action.status,
        "amount": money(action.amount, action.currency),
        "approved_by": action.approved_by,
        "remote_id": action.remote_id,
        "held": action.held_because,
        "error": action.error,
        "changes": changes,
        "is_money": action.is_money,
        "speaks": _speaks(action),
        "letter": action.request[0]["params"] if action.action == MAIL else None,
        "requests": json.dumps(action.request, indent=2, default=str, ensure_ascii=False),
    }


def _speaks(action: Action) -> str | None:
    """For how much a message of the newest period stands; None when that is all there is."""
    periods = action.before.get("periods", 1)
    if periods == 1:
        return None
    total = money(Decimal(action.before["total"]), action.currency)
    return f"It speaks of the newest of {periods} periods, {total} together"


def _shown(value: Any, key: str, action: Action) -> str:
    # JSON's whole numbers are ints.
    return money(Decimal(value), action.currency) if key == "billed" else f"{value:,}"


def totals_page(connection: Connection) -> dict[str, Any]:
    """The bridge and twelve months per currency, over the closed periods of the newest audit."""
    drawn = []
    for total in report_queries.bridge(connection, *report_queries.EVER):
        steps = [charts.Step(name, total.steps[column]) for column, name in STEPS]
        figure = charts.waterfall(
            f"bridge-{total.currency}", total.currency, total.expected, total.billed, steps
        )
        drawn.append(
            {
                "currency": total.currency.upper(),
                # Our own drawing: its text comes from formatted amounts and fixed labels only.
                "svg": Markup(figure.svg),  # noqa: S704
                "is_cut": figure.is_cut,
                "expected": money(total.expected, total.currency),
                "billed": money(total.billed, total.currency),
                "difference": money(total.difference, total.currency),
            }
        )
    by_type = [
        {
            **row,
            "title": finding_type(row["leakage_type"], row["direction"]).title,
            "amount": money(row["amount"], row["currency"]),
        }
        for row in queue.totals_by_type(connection)
    ]
    return {"bridges": drawn, "trends": _trends(connection), "by_type": by_type}


def sample_page(connection: Connection, *, test_mode: bool) -> dict[str, Any]:
    """The newest audit's month: who is to be checked by hand, and what that has shown so far."""
    as_of = report_queries.data_as_of(connection)
    if as_of is None:
        message = "no audit has run yet: there is nobody to check"
        raise PermanentFailure(message)
    sample.draw(connection, as_of)
    told = accuracy_part(sample.accuracy(connection, as_of))
    month = sample.month_of(as_of)
    return {
        "month": month,
        "accuracy": told["sentence"] if told else None,
        "rows": [
            {
                **row,
                "found": plural(row["findings"], "finding") if row["found"] else "nothing",
                "links": links_of([row["customer_id"]], {}, test_mode=test_mode),
            }
            for row in sample.read(connection, month)
        ],
    }


def check(
    connection: Connection, customer_id: str, verdict: str, note: str, by: str, at: datetime
) -> None:
    """Write down what a check of the newest audit's sample has shown.

    Raises:
        PermanentFailure: No such customer in it, no such verdict, or a note is missing.
    """
    month = sample_page(connection, test_mode=False)["month"]
    sample.record(connection, month, customer_id, verdict, note, by=by, at=at)


def decide(
    connection: Connection,
    detection_id: str,
    step: str,
    text: str,
    by: str,
    at: datetime,
    releases: Sequence[str] = (),
) -> None:
    """Take the step that the page's form names; approving releases the actions that it showed.

    Raises:
        PermanentFailure: No such step or finding, or it does not fit the finding's state.
    """
    found = queue.find(connection, detection_id)["detection_id"]
    if step == "approve":
        decisions.approve(connection, found, text or None, by=by, at=at)
        for action in ledger.of_finding(connection, found):
            if action.action_id in releases and _can_be_released(action):
                ledger.release(connection, action.action_id, by=by, at=at)
    elif step == "dismiss":
        decisions.dismiss(connection, found, text, by=by, at=at)
    elif step == "assign":
        decisions.assign(connection, found, text or by, by=by, at=at)
    elif step == "note":
        decisions.note(connection, found, text, by=by, at=at)
    elif step == "undo":
        decisions.undo(connection, found, by=by, at=at)
    else:
        message = f"{step} is nothing that can be done with a finding"
        raise PermanentFailure(message)

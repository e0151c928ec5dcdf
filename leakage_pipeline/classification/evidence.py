"""What of a finding a model may see, and which numbers and placeholders its answer may use.

Personal data and ids stay here: neither helps the decision. Text from outside (plan, meter and
source names, metadata) goes out as quoted data only.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from leakage_pipeline.classification.findings import Finding, Incident

_PERSONAL_KEY = re.compile(
    r"(^|_)(name|email|e_mail|mail|phone|address|street|city|postal|owner|contact|tax_id|vat|ip"
    r"|user|person|description|note|comment|memo|message|card|last4|fingerprint)(_|$)"
)
# Names of things, not of people. Nothing else that is written in free words leaves the house.
_NAMES_OF_THINGS = frozenset(
    {"plan_name", "product_name", "meter_name", "event_name", "coupon_name"}
)
_MAY_HAVE_WORDS = _NAMES_OF_THINGS | {"plan", "meter", "source", "cause", "feature", "features"}
_WORDS = re.compile(r"\s|[^\x00-\x7f]")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z|[+-][\d:]+)?")
_ID_KEY = re.compile(r"(^|_)ids?$")
# Known prefixes and a digit or capital only: price_below_contract is a reason, not an id.
STRIPE_ID = re.compile(
    r"\b(?:cus|sub|in|il|ii|si|price|prod|cn|cnli|ch|py|pi|pm|mtr|di|acct|evt|txn|re|dp|du|promo)_"
    r"(?=[a-z_]*[A-Z0-9])[A-Za-z0-9_]{4,}\b"
)
_EMAIL = re.compile(r"[^\s@<>\"']+@[^\s@<>\"']+\.[^\s@<>\"']+")
_PHONE = re.compile(r"\+\d[\d ()./-]{7,}\d")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]+")
_NUMBER = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")

_WORD = re.compile(r"\w+")
_LONG_WORD = 4

MAX_TEXT = 160
MAX_ITEMS = 40
MAX_DEPTH = 5


@dataclass(frozen=True)
class Shown:
    """The part of a finding or incident that leaves the house."""

    fields: Mapping[str, Any]

    @property
    def field_names(self) -> frozenset[str]:
        """Every key at any depth: what a rationale may cite."""
        return frozenset(key for key, _ in _walk(self.fields))

    @property
    def numbers(self) -> frozenset[Decimal]:
        """Every number in it, those inside strings (dates, numeric text) included, without sign."""
        found: set[Decimal] = set()
        for _, value in _walk(self.fields):
            if isinstance(value, str):
                found.update(numbers_in(value))
            elif isinstance(value, int | Decimal) and not isinstance(value, bool):
                found.add(abs(Decimal(value)).normalize())
        return frozenset(found)

    @property
    def strings(self) -> frozenset[str]:
        """Every text value in it: a rationale may quote `encode_4k` without inventing a 4."""
        return frozenset(value for _, value in _walk(self.fields) if isinstance(value, str))


def numbers_in(text: str) -> set[Decimal]:
    """Return the numbers written in a text, thousands separators removed, without sign."""
    found: set[Decimal] = set()
    for match in _NUMBER.findall(text):
        try:
            found.add(Decimal(match.replace(",", "")).normalize())
        except InvalidOperation:  # pragma: no cover - the pattern admits numbers only
            continue
    return found


@dataclass(frozen=True)
class History:
    """What is known of the same leak's other periods."""

    periods: int = 1
    """How many it was found in."""
    earlier_amounts: tuple[Decimal | None, ...] = ()
    """Of the closed periods before the newest, oldest first."""
    decided: Mapping[str, int] = field(default_factory=dict)
    """How many of its periods people approved, dismissed, wrote off or got back."""


def show_finding(finding: Finding, history: History) -> Shown:
    """Choose what a model sees of one leak, told by its newest period.

    Args:
        finding: The newest closed finding of the leak (its open one if none is closed yet).
        history: What is known of its other periods.
    """
    facts: dict[str, Any] = {
        "leakage_type": finding.leakage_type,
        "direction": finding.direction,
        "phase": finding.phase,
        "amount_basis": finding.amount_basis,
        "severity": finding.severity,
        "detection_confidence": finding.confidence,
        "currency": finding.currency,
        "leakage_amount": finding.amount,
        "monthly_leakage_amount": finding.monthly_amount,
        "period_start": finding.period_start,
        "period_end": finding.period_end,
        "periods_found": history.periods,
        "earlier_amounts": list(history.earlier_amounts) or None,
        "first_detected": finding.first_detected_at,
        "decided_before": dict(history.decided) or None,
        "meter": finding.meter,
        "reason": finding.reason,
        "plan": finding.plan,
        # One decimal: a score that moves in the third place every night is no new evidence.
        "health_score": _coarse(finding.health_score),
        "churn_risk": _coarse(finding.churn_risk),
        "customer_mrr": _two_digits(finding.mrr),
        "customer_lifetime_value": _two_digits(finding.lifetime_value),
        "evidence": finding.evidence,
    }
    return Shown(_cleaned(facts, names=_names(finding)))


def show_incident(incident: Incident, *, amount_basis: str) -> Shown:
    """Choose what a model sees of an incident: facts that hold for every customer in it."""
    facts: dict[str, Any] = {
        "leakage_type": incident.leakage_type,
        "direction": incident.direction,
        "amount_basis": amount_basis,
        "incident_customers": incident.customers,
        "incident_leakage_amount": incident.amount,
        "incident_monthly_leakage_amount": incident.monthly_amount,
        "currency": incident.currency,
        "started_at": incident.started_at,
        "meter": incident.meter,
        "source": incident.source,
        "cause": incident.cause,
    }
    return Shown(_cleaned(facts, names=()))


def clean_text(text: str, *, names: tuple[str, ...] = ()) -> str:
    """Make a text from outside one short line without e-mail addresses, ids or names."""
    line = _CONTROL.sub(" ", text)
    line = _PHONE.sub("[phone]", _EMAIL.sub("[e-mail]", line))
    line = STRIPE_ID.sub("[id]", line)
    for name in names:
        whole = rf"(?<!\w){re.escape(name)}(?!\w)"
        line = re.sub(whole, "[customer]", line, flags=re.IGNORECASE)
    return line if len(line) <= MAX_TEXT else line[:MAX_TEXT] + "\N{HORIZONTAL ELLIPSIS}"


def _names(finding: Finding) -> tuple[str, ...]:
    """The customer's name and its longer words: a plan may be called after one of them."""
    name = (finding.customer_name or "").strip()
    words = [word for word in _WORD.findall(name) if len(word) >= _LONG_WORD]
    # A one-letter name would blank out half of every sentence.
    return (name, *words) if len(name) > 1 else ()


def _coarse(score: Decimal | None) -> Decimal | None:
    return None if score is None else score.quantize(Decimal("0.1"))


def _two_digits(amount: Decimal | None) -> Decimal | None:
    """Coarse for the same reason; who pays is not to be told by it either."""
    if not amount:
        return amount
    return amount.quantize(Decimal(1).scaleb(amount.adjusted() - 1))


def _cleaned(facts: Mapping[str, Any], *, names: tuple[str, ...]) -> dict[str, Any]:
    cleaned = _clean_value(facts, names, depth=0, key="")
    return cleaned if isinstance(cleaned, dict) else {}


def _clean_value(value: Any, names: tuple[str, ...], depth: int, key: str) -> Any:
    if depth > MAX_DEPTH:
        return None
    if isinstance(value, Mapping):
        kept = {
            clean_text(str(name)): _clean_value(item, names, depth + 1, str(name).lower())
            for name, item in list(value.items())[:MAX_ITEMS]
            if _may_leave(str(name).lower())
        }
        return {name: item for name, item in kept.items() if item is not None}
    if isinstance(value, list | tuple):
        items = [_clean_value(item, names, depth + 1, key) for item in value[:MAX_ITEMS]]
        return [item for item in items if item is not None]
    if isinstance(value, datetime):
        return value.date().isoformat()
    return _clean_string(value, names, key) if isinstance(value, str) else value


def _clean_string(text: str, names: tuple[str, ...], key: str) -> str | None:
    """Leave out what somebody wrote freely: codes and instants have no words in them."""
    if key not in _MAY_HAVE_WORDS and _WORDS.search(text) and not _INSTANT.fullmatch(text):
        return None
    return clean_text(text, names=names)


def _may_leave(key: str) -> bool:
    if key in _NAMES_OF_THINGS:
        return True
    return not (_PERSONAL_KEY.search(key) or _ID_KEY.search(key))


def _walk(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield name, None
            yield from _walk(item, name)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _walk(item, key)
    else:
        yield key, value

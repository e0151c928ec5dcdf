"""The amount of a finding from its evidence alone, as an analyst with a calculator would.

One function per finding type; each sees nothing but the evidence, whose numbers are exact Decimals,
and gives currency units, or None where the evidence names no price.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

Evidence = Mapping[str, Any]
Amount = Decimal | None

ZERO = Decimal(0)
NO_MINOR_UNIT = frozenset({"jpy"})


def amount(finding: Mapping[str, Any]) -> Amount:
    """The finding's amount.

    Args:
        finding: A row of marts.fct_leakage_detections with its evidence parsed.

    Raises:
        KeyError: A type without a function, or evidence without a number that it needs.
    """
    evidence = {**finding["evidence"], "currency": finding["currency"]}
    if any("draft_net" in charge for charge in _charges(evidence)):
        return _draft(evidence)
    found = BY_HAND[finding["leakage_type"]](evidence)
    # Of what was billed too much, credit notes may have given back a part.
    return found if found is None else found - Decimal(evidence.get("already_credited", ZERO))


def _charges(evidence: Evidence) -> list[dict[str, Any]]:
    found = evidence.get("charges", [])
    parts = [charge for part in found for charge in (part if isinstance(part, list) else [part])]
    return [
        {
            key: Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value
            for key, value in charge.items()
        }
        for charge in parts
    ]


def _draft(evidence: Evidence) -> Amount:
    """What the draft's lines should come to - what they come to."""
    return abs(sum((c["expected_net"] - c["draft_net"] for c in _charges(evidence)), ZERO))


def _step(first: str, second: str) -> Callable[[Evidence], Amount]:
    """The difference of two net amounts over all charges: a step of the bridge."""

    def step(evidence: Evidence) -> Amount:
        return abs(sum((c[first] - c[second] for c in _charges(evidence)), ZERO))

    return step


_usage = _step("net_at_billed_discount", "net_at_billed_quantity")
_price = _step("net_at_billed_quantity", "net_at_stripe_price")
_rating = _step("net_at_stripe_price", "billed_net")
_whole = _step("expected_net", "billed_net")


def _by_reason(evidence: Evidence) -> Amount:
    """A line that says less than its own price gives, or a price below the one in force."""
    edited = evidence.get("reason") in {"line_absent", "line_too_low", "line_edited"}
    return _rating(evidence) if edited else _price(evidence)


def _late_usage(evidence: Evidence) -> Amount:
    return sum(
        (
            charge["net_at_billed_discount"] - charge["net_known_in_time"]
            for charge in _charges(evidence)
            if "net_known_in_time" in charge
        ),
        ZERO,
    )


def _unreported_usage(evidence: Evidence) -> Amount:
    """The usage step; what came late is a finding of its own."""
    whole = _usage(evidence)
    return None if whole is None else whole - (_late_usage(evidence) or ZERO)


def _unbilled_proration(evidence: Evidence) -> Amount:
    """Both halves of every change that no invoice bills."""
    changes = [charge for charge in _charges(evidence) if "change" in charge]
    return abs(sum((charge["expected_net"] - charge["billed_net"] for charge in changes), ZERO))


def _over_credited(evidence: Evidence) -> Amount:
    """Late notes whole, and what the others exceed their line by."""
    unit = _minor(evidence["currency"])
    total = ZERO
    for line in evidence["lines"]:
        notes = line["credit_notes"]
        late = sum((n["amount_in_minor_units"] * unit for n in notes if n["is_late"]), ZERO)
        in_time = sum((n["amount_in_minor_units"] * unit for n in notes if not n["is_late"]), ZERO)
        total += late + max(ZERO, in_time - line["line_net"])
    return total


def _tiers(tiers: Sequence[Mapping[str, Decimal]], currency: str) -> Decimal:
    """Units at their unit amounts, and flat amounts, each rounded half away by itself."""
    parts = (
        part.quantize(Decimal(1), ROUND_HALF_UP)
        for tier in tiers
        for part in (Decimal(tier["units"]) * tier["unit_amount"], Decimal(tier["flat_amount"]))
    )
    return sum(parts, ZERO) * _minor(currency)


def _minor(currency: str) -> Decimal:
    return Decimal(1) if currency in NO_MINOR_UNIT else Decimal("0.01")


def _at_rate(evidence: Evidence) -> Amount:
    tiers = evidence.get("rate_tiers_in_minor_units")
    return None if tiers is None else _tiers(tiers, evidence["currency"])


def _quantity_at_rate(evidence: Evidence) -> Amount:
    """The quantity of the finding stands in the tiers whole."""
    tiers = evidence.get("rate_tiers_in_minor_units")
    if tiers is not None and evidence.get("included_quantity") is None:
        assert sum(tier["units"] for tier in tiers) == evidence["quantity"]
    return _at_rate(evidence)


def _unattributed_usage(evidence: Evidence) -> Amount:
    return sum(
        (_tiers(m["rate_tiers_in_minor_units"], evidence["currency"]) for m in evidence["meters"]),
        ZERO,
    )


def _approaching_limit(evidence: Evidence) -> Amount:
    """What is above the limit if the period goes on as it began."""
    above = evidence["projected_quantity"] - evidence["included_quantity"]
    tiers = evidence.get("rate_tiers_in_minor_units")
    if tiers is None or above <= 0:
        return None
    assert sum(tier["units"] for tier in tiers) == above
    return _at_rate(evidence) or None


def _outgrown_plan(evidence: Evidence) -> Amount:
    """What the plan cost with its usage - fee and usage of the larger one."""
    if "higher_plan" not in evidence:
        assert all(
            period["used_quantity"] > period["included_quantity"]
            for meter in evidence["meters_over_limit"]
            for period in meter["periods"]
        )
        return None
    own = sum((charge["amount"] for charge in evidence["own_charges"]), ZERO)
    usage = sum(
        (
            _tiers(part.get("rate_tiers_in_minor_units") or [], evidence["currency"])
            for part in evidence["higher_plan_usage"]
        ),
        ZERO,
    )
    return own - evidence["higher_plan_fee"] - usage


def _sum_of(many: str, name: str) -> Callable[[Evidence], Amount]:
    def total(evidence: Evidence) -> Amount:
        return sum((Decimal(part.get(name, 0)) for part in evidence[many]), ZERO)

    return total


def _missing_local_access(evidence: Evidence) -> Amount:
    if "product_plan_price" not in evidence:
        return Decimal(evidence["billed_amount"])
    billed = evidence["billed_plan_price"] * evidence["billed_units"]
    return min(
        billed - evidence["product_plan_price"] * evidence["product_units"],
        evidence["billed_amount"],
    )


BY_HAND: dict[str, Callable[[Evidence], Amount]] = {
    "outdated_pricing": _by_reason,
    "missing_overage": _by_reason,
    "overbilled_price": _price,
    "unreported_usage": _unreported_usage,
    "overbilled_usage": _usage,
    "final_usage_lost": _whole,
    "late_usage": _late_usage,
    "seat_leakage": _usage,
    "incorrect_discount": _step("expected_net", "net_at_billed_discount"),
    "double_charge": _rating,
    "missing_invoice": _whole,
    "unbilled_proration": _unbilled_proration,
    "minimum_shortfall": lambda e: e["minimum_commitment"] - e["expected_net"],
    "over_credited": _over_credited,
    "feature_leakage": lambda e: (e["covering_plan_price"] - e["plan_price"]) * e["intervals"],
    "access_after_cancellation": lambda e: e["unit_price"] * e["quantity"],
    "plan_mismatch": lambda e: (
        e["product_plan_price"] * e["product_units"] - e["billed_plan_price"] * e["billed_units"]
    ),
    "trial_not_converted": lambda e: e["monthly_unit_price"] * e["quantity"],
    "missing_stripe_subscription": lambda e: sum(
        (each["monthly_unit_price"] * each["quantity"] for each in e["accounts"]), ZERO
    ),
    "orphaned_subscription": lambda e: e["billed_amount"],
    "duplicate_subscription": _sum_of("surplus_charges", "billed_net"),
    "missing_local_access": _missing_local_access,
    "duplicate_refund": _sum_of("repeated", "amount"),
    "unpaid_access": _sum_of("invoices", "amount_remaining"),
    "retries_exhausted": _sum_of("invoices", "amount_remaining"),
    "expiring_payment_method": lambda e: e["licence_fee"],
    "stuck_draft_invoice": _sum_of("waiting", "amount"),
    "dispute_open": _sum_of("disputes", "amount"),
    "paused_collection": _sum_of("invoices", "amount"),
    "webhook_delivery_failure": _sum_of("events", "amount"),
    "unmetered_usage": _quantity_at_rate,
    "usage_after_cancellation": _quantity_at_rate,
    "unattributed_usage": _unattributed_usage,
    "approaching_limit": _approaching_limit,
    "outgrown_plan": _outgrown_plan,
}

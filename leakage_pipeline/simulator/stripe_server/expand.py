"""Which properties can be expanded, and how: ids into objects, hidden fields into view.

The table follows `x-expandableFields` of Stripe's OpenAPI file for the objects served here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from leakage_pipeline.simulator.stripe_objects import JsonObject
from leakage_pipeline.simulator.stripe_server.errors import bad_request

Tree = Mapping[str, Any]
Lookup = Callable[[str, str], JsonObject | None]
"""Type and id to the object as it is shown, or None when the account has none."""
Hidden = Callable[[str, str], JsonObject]
"""Type and id to the fields of the object that only an expand shows."""


@dataclass(frozen=True)
class _Step:
    """How one property expands: `ref` ids, `inline` objects, `hidden` fields, or `plain` ids.

    `inline` covers an object, an array of objects and an embedded list alike. A `plain` property
    is expandable in Stripe and left as it is here, since nothing simulated stands behind it.
    """

    kind: str
    target: str = ""


_PLAIN = _Step("plain")


def _ref(target: str) -> _Step:
    return _Step("ref", target)


def _inline(target: str) -> _Step:
    return _Step("inline", target)


def _hidden(target: str = "") -> _Step:
    return _Step("hidden", target)


def _plain(*names: str) -> dict[str, _Step]:
    return dict.fromkeys(names, _PLAIN)


_SHARES = {
    "discount_amounts": _inline("discount_share"),
    "pretax_credit_amounts": _inline("discount_share"),
}

EXPANDABLE: dict[str, dict[str, _Step]] = {
    "customer": {
        "discount": _inline("discount"),
        "invoice_settings": _inline("invoice_settings_of_customer"),
        **_plain("address", "default_source", "shipping", "test_clock"),
    },
    "invoice_settings_of_customer": {"default_payment_method": _ref("payment_method")},
    "product": {
        "default_price": _ref("price"),
        **_plain("marketing_features", "package_dimensions", "tax_code"),
    },
    "price": {
        "currency_options": _hidden("currency_options"),
        "product": _ref("product"),
        "tiers": _hidden(),
        **_plain("custom_unit_amount", "recurring", "transform_quantity"),
    },
    "coupon": {"applies_to": _hidden(), "currency_options": _hidden()},
    "discount": {
        "customer": _ref("customer"),
        "source": _inline("discount_source"),
        "promotion_code": _ref("promotion_code"),
    },
    "discount_source": {"coupon": _ref("coupon")},
    "discount_share": {
        "discount": _ref("discount"),
        **_plain("credit_balance_transaction"),
    },
    "subscription": {
        "customer": _ref("customer"),
        "default_payment_method": _ref("payment_method"),
        "discounts": _ref("discount"),
        "items": _inline("list:subscription_item"),
        "latest_invoice": _ref("invoice"),
        "schedule": _ref("subscription_schedule"),
        **_plain(
            *("application", "automatic_tax", "billing_cycle_anchor_config", "billing_mode"),
            *("billing_schedules", "billing_thresholds", "cancellation_details"),
            *("default_source", "default_tax_rates"),
            *("invoice_settings", "managed_payments", "on_behalf_of", "pause_collection"),
            *("payment_settings", "pending_invoice_item_interval", "pending_setup_intent"),
            *("pending_update", "test_clock", "transfer_data", "trial_settings"),
        ),
    },
    "subscription_item": {
        "discounts": _ref("discount"),
        "price": _inline("price"),
        **_plain("billing_thresholds", "tax_rates"),
    },
    "invoice": {
        "customer": _ref("customer"),
        "discounts": _ref("discount"),
        "from_invoice": _inline("from_invoice"),
        "latest_revision": _ref("invoice"),
        "lines": _inline("list:line_item"),
        "parent": _inline("parent"),
        "total_discount_amounts": _inline("discount_share"),
        "total_pretax_credit_amounts": _inline("discount_share"),
        **_plain(
            *("account_tax_ids", "application", "automatic_tax", "customer_address"),
            *("customer_shipping", "customer_tax_ids", "default_payment_method"),
            *("default_source", "default_tax_rates", "issuer", "last_finalization_error"),
            *("on_behalf_of", "payment_settings", "rendering", "shipping_cost"),
            *("status_transitions", "test_clock", "threshold_reason", "total_taxes"),
        ),
    },
    "from_invoice": {"invoice": _ref("invoice")},
    "parent": {
        "invoice_item_details": _inline("parent_details"),
        "subscription_details": _inline("parent_details"),
        "subscription_item_details": _inline("parent_details"),
    },
    "parent_details": {"subscription": _ref("subscription")},
    "line_item": {
        **_SHARES,
        "discounts": _ref("discount"),
        "parent": _inline("parent"),
        "pricing": _inline("pricing"),
        "subscription": _ref("subscription"),
        **_plain("period", "taxes"),
    },
    "pricing": {"price_details": _inline("price_details")},
    "price_details": {"price": _ref("price")},
    "invoiceitem": {
        "customer": _ref("customer"),
        "discounts": _ref("discount"),
        "invoice": _ref("invoice"),
        "parent": _inline("parent"),
        "pricing": _inline("pricing"),
        **_plain("period", "proration_details", "tax_rates", "test_clock"),
    },
    "credit_note": {
        **_SHARES,
        "customer": _ref("customer"),
        "invoice": _ref("invoice"),
        "lines": _inline("list:credit_note_line_item"),
        **_plain("customer_balance_transaction", "refunds", "shipping_cost", "total_taxes"),
    },
    "credit_note_line_item": {**_SHARES, **_plain("tax_rates", "taxes")},
    "billing.meter": _plain(
        "customer_mapping", "default_aggregation", "status_transitions", "value_settings"
    ),
    "billing.meter_event_summary": {},
    "event": _plain("data", "request"),
    "webhook_endpoint": {},
    "subscription_schedule": {
        "customer": _ref("customer"),
        "phases": _inline("schedule_phase"),
        "subscription": _ref("subscription"),
        **_plain(
            *("application", "current_phase", "default_settings", "released_subscription"),
            "test_clock",
        ),
    },
    "schedule_phase": {"items": _inline("schedule_item"), **_plain("discounts")},
    "schedule_item": {"price": _ref("price"), **_plain("discounts", "tax_rates")},
    "promotion_code": {"customer": _ref("customer"), "promotion": _inline("discount_source")},
    "payment_method": {"customer": _ref("customer"), **_plain("billing_details", "card")},
    "charge": {
        "customer": _ref("customer"),
        **_plain(
            *("application", "application_fee", "balance_transaction", "on_behalf_of"),
            *("outcome", "payment_intent", "payment_method_details", "refunds", "review"),
        ),
    },
    "refund": {
        "charge": _ref("charge"),
        "customer": _ref("customer"),
        **_plain("balance_transaction", "destination_details", "payment_intent"),
    },
    "dispute": {
        "charge": _ref("charge"),
        **_plain("balance_transactions", "evidence", "evidence_details", "payment_intent"),
    },
    "invoice_payment": {
        "invoice": _ref("invoice"),
        "payment": _inline("invoice_payment_by"),
        **_plain("status_transitions"),
    },
    "invoice_payment_by": {"charge": _ref("charge"), **_plain("payment_intent")},
    "entitlements.active_entitlement": {"feature": _ref("entitlements.feature")},
    "customer_balance_transaction": {
        "credit_note": _ref("credit_note"),
        "customer": _ref("customer"),
        "invoice": _ref("invoice"),
    },
}


def step_of(kind: str, name: str) -> _Step | None:
    """How `name` of an object of this kind expands; None when it cannot."""
    if kind.startswith("list:"):
        return _inline(kind.removeprefix("list:")) if name == "data" else None
    if kind == "currency_options":  # one key per currency
        return _inline("currency_option")
    if kind == "currency_option":
        return {"tiers": _hidden(), "custom_unit_amount": _PLAIN}.get(name)
    return EXPANDABLE.get(kind, {}).get(name)


def check(kind: str, tree: Tree, *, root: bool = True) -> None:
    """Refuse, as Stripe does, an expand of something that cannot be expanded."""
    for name, below in tree.items():
        step = step_of(kind, name)
        if step is None:
            message = f"This property cannot be expanded ({name})."
            listed = kind.removeprefix("list:")
            if root and listed != kind and step_of(listed, name):
                message += f" You may want to try expanding 'data.{name}' instead."
            raise bad_request(message=message, param="expand")
        if below and step.kind != "plain":
            check(step.target, below, root=False)


class Expander:
    """Expands the objects of one account."""

    def __init__(self, lookup: Lookup, hidden: Hidden) -> None:
        self._lookup = lookup
        self._hidden = hidden

    def show(self, kind: str, shown: JsonObject, tree: Tree) -> JsonObject:
        """The object with everything in the tree expanded; the argument is left as it is."""
        if not tree:
            return shown
        result = dict(shown)
        for name, below in tree.items():
            step = step_of(kind, name)
            if step is None or step.kind == "plain":
                continue
            if step.kind == "hidden":
                self._reveal(kind, result, name, below)
            elif result.get(name) is not None:
                result[name] = self._value(step, result[name], below)
        return result

    def _value(self, step: _Step, value: Any, below: Tree) -> Any:
        if isinstance(value, list):
            return [self._value(step, entry, below) for entry in value]
        if step.kind == "inline":
            return self.show(step.target, value, below)
        found = self._lookup(step.target, value) if isinstance(value, str) else None
        return value if found is None else self.show(step.target, found, below)

    def _reveal(self, kind: str, result: JsonObject, name: str, below: Tree) -> None:
        if kind == "currency_option":  # the option carries what it hides, see `store`
            return
        found = self._hidden(kind, result["id"]).get(name)
        if found is None:
            return
        if name == "currency_options" and kind == "price":
            found = {
                code: option if "tiers" in below.get(code, {}) else _without_tiers(option)
                for code, option in found.items()
            }
        result[name] = found


def _without_tiers(option: JsonObject) -> JsonObject:
    return {key: value for key, value in option.items() if key != "tiers"}

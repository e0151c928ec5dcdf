"""Which Stripe objects are read: endpoint, parameters, expands, and the permission a key needs.

Every trap of a list call is settled here (canceled subscriptions, inactive prices, hidden tiers);
how the JSON becomes rows is settled in `flatten*.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

# Sent with every call and stored with every row; the version that the pinned SDK was made from.
STRIPE_VERSION = "2026-10-28.endive"

Scalar = str | int | bool
Params = Mapping[str, Scalar | tuple[str, ...]]
Expands = tuple[tuple[str, ...], ...]
_NONE: Params = MappingProxyType({})


@dataclass(frozen=True)
class EmbeddedList:
    """A list inside an object, of which Stripe sends one page only.

    Attributes:
        key: Where it stands in the object.
        path: Endpoint of the full list; ``{id}`` is the owner's id.
        owner_param: Query parameter that takes the owner's id, when the path does not.
        expands: What to expand in its elements, see `StripeObject`.
    """

    key: str
    path: str
    owner_param: str | None = None
    expands: Expands = ((),)


@dataclass(frozen=True)
class StripeObject:
    """One kind of object that can be listed.

    Attributes:
        name: Our name, also the key of `raw_stripe.sync_status`.
        path: Endpoint of the list; the endpoint of one object is ``path/id``.
        permission: What a restricted key must be allowed to read, as dashboard and API name it.
        core: Without it the audit would be wrong, so a refusal ends the run; any other object
            becomes a gap in coverage.
        params: Sent with every list call.
        variants: The list is asked once for each; together they are the whole.
        expands: What to expand, the best choice first; a later one is for servers that refuse it.
            Relative to the object; at most 4 levels with the ``data.`` that a list adds.
        created_key: Key of the creation time.
        created_filter: Whether the list takes ``created``; else later objects are left out here.
        embedded: Lists inside the object that must be completed.
        needs_owner: There is no list of all of them: it is refused without a customer.
    """

    name: str
    path: str
    permission: str
    core: bool = False
    params: Params = field(default_factory=dict)
    variants: tuple[Params, ...] = (_NONE,)
    expands: Expands = ((),)
    created_key: str = "created"
    created_filter: bool = True
    embedded: tuple[EmbeddedList, ...] = ()
    needs_owner: bool = False


# What tells how subscriptions and discounts became what they are; Stripe takes up to 20 types.
HISTORY_EVENTS = (
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.pending_update_applied",
    "customer.discount.created",
    "customer.discount.updated",
    "customer.discount.deleted",
)

_DISCOUNTS_OF_ELEMENTS: Expands = (("discounts.source.coupon",), ("discounts",), ())

_ALL = (
    StripeObject(
        name="customers",
        path="/v1/customers",
        permission="Customers (rak_customer_read)",
        core=True,
        # What a customer pays with is optional: the key may read customers and not their cards.
        expands=(
            ("discount.source.coupon", "invoice_settings.default_payment_method"),
            ("discount.source.coupon",),
            (),
        ),
    ),
    StripeObject(
        name="products",
        path="/v1/products",
        permission="Products (rak_product_read)",
        core=True,
    ),
    StripeObject(
        # Tiers and currency options are left out unless asked for: without them a tiered price
        # looks like a price of nothing. The list shows active prices alone unless told otherwise,
        # and never those made inline (`price_data`): references.py retrieves them.
        name="prices",
        path="/v1/prices",
        permission="Prices (rak_plan_read)",
        core=True,
        variants=(MappingProxyType({"active": True}), MappingProxyType({"active": False})),
        expands=(("tiers", "currency_options"), ()),
    ),
    StripeObject(
        # Canceled ones are left out by default. `items.data.price.tiers` would be too deep, and so
        # would the coupons of item discounts. A coupon that was deleted is shown nowhere but here.
        name="subscriptions",
        path="/v1/subscriptions",
        permission="Subscriptions (rak_subscription_read)",
        core=True,
        params=MappingProxyType({"status": "all"}),
        expands=(
            ("discounts.source.coupon", "items.data.discounts", "default_payment_method"),
            ("discounts.source.coupon", "items.data.discounts"),
            ("discounts", "items.data.discounts"),
            (),
        ),
        embedded=(
            EmbeddedList("items", "/v1/subscription_items", "subscription", _DISCOUNTS_OF_ELEMENTS),
        ),
    ),
    StripeObject(
        name="invoices",
        path="/v1/invoices",
        permission="Invoices (rak_invoice_read)",
        core=True,
        expands=(
            ("discounts.source.coupon", "lines.data.discounts"),
            ("discounts", "lines.data.discounts"),
            (),
        ),
        embedded=(
            EmbeddedList("lines", "/v1/invoices/{id}/lines", expands=_DISCOUNTS_OF_ELEMENTS),
        ),
    ),
    StripeObject(
        # What waits for an invoice; and the subscription item of a proration line, whose parent
        # names the invoice item alone.
        name="invoice_items",
        path="/v1/invoiceitems",
        permission="Invoices (rak_invoice_read)",
        created_key="date",
    ),
    StripeObject(
        name="credit_notes",
        path="/v1/credit_notes",
        permission="Credit notes (rak_credit_note_read)",
        embedded=(EmbeddedList("lines", "/v1/credit_notes/{id}/lines"),),
    ),
    StripeObject(
        name="coupons",
        path="/v1/coupons",
        permission="Coupons (rak_coupon_read)",
        # Which products it is for, and its amounts in other currencies, are shown on request alone.
        expands=(("applies_to", "currency_options"), ()),
    ),
    StripeObject(
        # Both states: an inactive meter still explains past invoices. The list has no other filter.
        name="meters",
        path="/v1/billing/meters",
        permission="Billing meters (rak_billing_meter_read)",
        variants=(
            MappingProxyType({"status": "active"}),
            MappingProxyType({"status": "inactive"}),
        ),
        created_filter=False,
    ),
    StripeObject(
        # Stripe keeps 30 days of them; bodies are in the version of their time. See events.py.
        name="events",
        path="/v1/events",
        permission="Events (rak_event_read)",
        params=MappingProxyType({"types": HISTORY_EVENTS}),
    ),
    StripeObject(
        # What says which objects to read again, in as many parts as it has types; change_feed.py.
        name="changes",
        path="/v1/events",
        permission="Events (rak_event_read)",
    ),
    StripeObject(
        # Of any type; those that are still tried to deliver are among them.
        name="undelivered_events",
        path="/v1/events",
        permission="Events (rak_event_read)",
        params=MappingProxyType({"delivery_success": False}),
    ),
    StripeObject(
        name="webhook_endpoints",
        path="/v1/webhook_endpoints",
        permission="Webhook endpoints (rak_webhook_read)",
        created_filter=False,
    ),
    StripeObject(
        name="subscription_schedules",
        path="/v1/subscription_schedules",
        permission="Subscriptions (rak_subscription_read)",
    ),
    StripeObject(
        name="promotion_codes",
        path="/v1/promotion_codes",
        permission="Promotion codes (rak_promotion_code_read)",
    ),
    StripeObject(
        name="charges",
        path="/v1/charges",
        permission="Charges and refunds (rak_charge_read)",
    ),
    StripeObject(
        # The charge says whose money it was, and may be older than the charges that are listed.
        name="refunds",
        path="/v1/refunds",
        permission="Charges and refunds (rak_charge_read)",
        expands=(("charge",), ()),
    ),
    StripeObject(
        name="disputes",
        path="/v1/disputes",
        permission="Disputes (rak_dispute_read)",
        expands=(("charge",), ()),
    ),
    StripeObject(
        name="invoice_payments",
        path="/v1/invoice_payments",
        permission="Invoices (rak_invoice_read)",
    ),
    StripeObject(
        # Never listed: customers and subscriptions show what they pay with.
        name="payment_methods",
        path="/v1/payment_methods",
        permission="Payment methods (rak_payment_method_read)",
    ),
    StripeObject(
        # One list per customer who has a balance, see load_payments.py.
        name="customer_balance_transactions",
        path="/v1/customers/{id}/balance_transactions",
        permission="Customers (rak_customer_read)",
        created_filter=False,
    ),
    StripeObject(
        # What products give access to; archived ones included.
        name="features",
        path="/v1/entitlements/features",
        permission="Entitlements (rak_entitlement_read)",
        created_filter=False,
    ),
    StripeObject(
        # One list per customer, see load_entitlements.py.
        name="active_entitlements",
        path="/v1/entitlements/active_entitlements",
        permission="Entitlements (rak_entitlement_read)",
        created_filter=False,
        needs_owner=True,
    ),
    StripeObject(
        # Stripe's reports of meter events that it took and rejected later; meter_errors.py.
        name="meter_errors",
        path="/v2/core/events",
        permission="Events (rak_event_read)",
        created_filter=False,
    ),
    StripeObject(
        # No list of its own: asked per meter, customer and span, see summaries.py.
        name="meter_event_summaries",
        path="/v1/billing/meters/{id}/event_summaries",
        permission="Billing meters (rak_billing_meter_read)",
        created_filter=False,
    ),
)

OBJECTS: Mapping[str, StripeObject] = MappingProxyType({item.name: item for item in _ALL})

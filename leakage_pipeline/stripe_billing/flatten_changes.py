"""Schedules, promotion codes, webhook endpoints: which JSON key feeds which column, old ones too.

Events are flattened in `events.py`.
"""

from collections.abc import Sequence

import pyarrow as pa
import stripe

from leakage_pipeline.stripe_billing import tables_changes as tables
from leakage_pipeline.stripe_billing.columns import Flattener, Sync
from leakage_pipeline.stripe_billing.getters import declared, elements, first, path, ref
from leakage_pipeline.stripe_billing.values import Json

Batches = dict[str, pa.RecordBatch]

_ENDPOINTS = Flattener(
    tables.WEBHOOK_ENDPOINTS,
    {
        "webhook_endpoint_id": "id",
        "url": "url",
        "status": "status",
        "enabled_events": "enabled_events",
        "api_version": "api_version",
        "created": "created",
    },
    payload_without="secret",
    known_keys=declared(stripe.WebhookEndpoint),
)

_SCHEDULES = Flattener(
    tables.SUBSCRIPTION_SCHEDULES,
    {
        "schedule_id": "id",
        "customer_id": ref("customer"),
        "subscription_id": first(ref("subscription"), ref("released_subscription")),
        "status": "status",
        "current_phase_start": "current_phase.start_date",
        "current_phase_end": "current_phase.end_date",
        "released_at": "released_at",
        "completed_at": "completed_at",
        "canceled_at": "canceled_at",
        "created": "created",
    },
    payload_without="phases",
    known_keys=declared(stripe.SubscriptionSchedule),
)

_PHASES = Flattener(
    tables.SUBSCRIPTION_SCHEDULE_PHASES,
    {"price_id": first(ref("price"), ref("plan")), "quantity": "quantity"},
    required=frozenset({"start_at", "price_id"}),
)

_PROMOTION_CODES = Flattener(
    tables.PROMOTION_CODES,
    {
        "promotion_code_id": "id",
        # `coupon`, a whole object, until 2025-09-30.
        "coupon_id": first(ref("promotion", "coupon"), ref("coupon")),
        "code": "code",
        "active": "active",
        "customer_id": ref("customer"),
        "expires_at": "expires_at",
        "max_redemptions": "max_redemptions",
        "times_redeemed": "times_redeemed",
        "created": "created",
    },
    known_keys=declared(stripe.PromotionCode, "coupon"),
)


def webhook_endpoints(objects: Sequence[Json], sync: Sync) -> Batches:
    """Flatten webhook endpoints; a signing secret, should one be shown, is left out."""
    return {"webhook_endpoints": _ENDPOINTS.batch(objects, sync)}


def promotion_codes(objects: Sequence[Json], sync: Sync) -> Batches:
    """Flatten promotion codes."""
    return {"promotion_codes": _PROMOTION_CODES.batch(objects, sync)}


def schedules(objects: Sequence[Json], sync: Sync) -> Batches:
    """Flatten subscription schedules into schedules and the items of their phases."""
    phases = [
        (schedule, place, phase)
        for schedule in objects
        for place, phase in enumerate(elements(schedule, "phases"))
    ]
    items = [
        (schedule, place, phase, index, item)
        for schedule, place, phase in phases
        for index, item in enumerate(elements(phase, "items") or elements(phase, "plans"))
    ]
    return {
        "subscription_schedules": _SCHEDULES.batch(objects, sync),
        "subscription_schedule_phases": _PHASES.batch(
            [item for *_, item in items],
            sync,
            schedule_id=[schedule.get("id") for schedule, *_ in items],
            phase_index=[place for _, place, *_ in items],
            item_index=[index for *_, index, _ in items],
            start_at=[path("start_date")(phase) for _, _, phase, *_ in items],
            end_at=[path("end_date")(phase) for _, _, phase, *_ in items],
        ),
    }

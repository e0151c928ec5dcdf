"""A small Stripe account that has every trap of the API in it, once."""

from datetime import UTC, datetime

from leakage_pipeline.simulator import stripe_objects as so

AS_OF = datetime(2026, 6, 15, 6, 0, tzinfo=UTC)


def at(year: int, month: int, day: int, second: int = 0) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) + second


JAN, MAY, JUN, JUL = (at(2026, month, 1) for month in (1, 5, 6, 7))


def trap_account() -> so.StripeAccount:
    prices = _prices()
    discount = so.discount(
        "di_sub", coupon="co_gone", start=JAN, customer="cus_1", subscription="sub_1"
    )
    own = so.discount("di_cus", coupon="co_listed", start=JAN, customer="cus_2")
    first = so.subscription(
        "sub_1",
        customer="cus_1",
        currency="usd",
        created=JAN,
        billing_cycle_anchor=JAN,
        items=[
            _item(f"si_{number}", prices[name], subscription="sub_1")
            for number, name in enumerate(["seat", "calls", "inline"] * 8)
        ],
        discounts=[discount],
        default_payment_method="pm_1",
        metadata={"account_id": "acc_1"},
    )
    canceled = so.subscription(
        "sub_canceled",
        customer="cus_gone",
        currency="eur",
        created=JAN,
        billing_cycle_anchor=JAN,
        items=[_item("si_old", prices["old"], subscription="sub_canceled")],
        status="canceled",
        ended_at=MAY,
        canceled_at=MAY,
    )
    invoice = _invoice(prices, discount)
    old, new = (
        so.charge(name, customer="cus_1", amount=900, currency="usd", created=created)
        for name, created in (("ch_old", at(2024, 1, 1)), ("ch_new", MAY))
    )
    return so.StripeAccount(
        customers=[
            so.customer(
                "cus_1",
                created=JAN,
                name="Ann \x00",
                email="ann@example.com",
                balance=-50,
                default_payment_method="pm_1",
            ),
            so.customer("cus_2", created=JAN, discount=own),
            so.customer("cus_future", created=JUL),
            so.deleted_customer("cus_gone"),
        ],
        products=[
            so.product("prod_1", name="Pro", created=JAN, metadata={"plan": "pro"}),
        ],
        prices=[prices["seat"], prices["calls"], prices["old"]],
        inline_prices=[prices["inline"]],
        coupons=[
            so.coupon("co_listed", created=JAN, percent_off="12.5"),
            so.coupon("co_gone", created=JAN, amount_off=500, currency="usd") | {"deleted": True},
        ],
        subscriptions=[first, canceled],
        invoices=[invoice],
        invoice_items=[
            so.invoice_item(
                "ii_1",
                customer="cus_1",
                amount=-3,
                currency="usd",
                date=MAY,
                price=prices["seat"],
                subscription="sub_1",
                subscription_item="si_0",
                proration=True,
                invoice="in_1",
            )
        ],
        events=[
            so.event(
                "evt_1",
                type="customer.subscription.updated",
                created=JUN,
                data_object={"id": "sub_1", "object": "subscription", "customer": "cus_1"},
                previous_attributes={"status": "trialing"},
            )
        ],
        webhook_endpoints=[so.webhook_endpoint("we_1", url="https://a.example", created=JAN)],
        subscription_schedules=[
            so.subscription_schedule(
                "sub_sched_1",
                customer="cus_1",
                created=JAN,
                subscription="sub_1",
                status="released",
                released_at=MAY,
                phases=[
                    so.schedule_phase(
                        start, end, currency="usd", items=[so.schedule_item("price_seat")]
                    )
                    for start, end in ((JAN, MAY), (MAY, JUL))
                ],
            )
        ],
        features=[so.feature("feat_1", lookup_key="exports", name="Exports")],
        active_entitlements=[
            so.active_entitlement(
                f"ent_{customer}", customer=customer, feature="feat_1", lookup_key="exports"
            )
            for customer in ("cus_1", "cus_2")  # cus_2 has no subscription that runs
        ],
        promotion_codes=[so.promotion_code("promo_1", coupon="co_gone", code="A", created=JAN)],
        payment_methods=[so.payment_method("pm_1", customer="cus_1", created=JAN)],
        charges=[old, new],
        refunds=[so.refund("re_1", charge=old, amount=100, created=MAY)],
        disputes=[so.dispute("dp_1", charge=old, created=MAY, evidence_due_by=JUL)],
        invoice_payments=[
            so.invoice_payment("inpay_1", invoice=invoice, created=JUN, payment_intent="pi_1")
        ],
        balance_transactions=[
            so.balance_transaction(
                name,
                customer="cus_1",
                amount=-50,
                ending_balance=-50,
                currency="usd",
                created=created,
            )
            for name, created in (("cbtxn_1", MAY), ("cbtxn_future", JUL))
        ],
        credit_notes=[
            so.credit_note(
                "cn_1",
                invoice=invoice,
                created=JUN + 60,
                lines=[so.credit_note_line("cnli_1", amount=100, invoice_line_item="il_0")],
                reason="order_change",
            )
        ],
        meters=[
            so.meter("mtr_calls", event_name="api_calls", created=JAN),
            so.meter("mtr_future", event_name="future", created=JUL),
            so.meter("mtr_old", event_name="old", created=JAN, formula="last", deactivated_at=MAY),
        ],
        meter_events=[
            so.meter_event(
                "api_calls", customer="cus_1", value="1.25", timestamp=MAY + 60, identifier="e1"
            ),
            so.meter_event(
                "api_calls", customer="cus_1", value="2", timestamp=MAY + 90, identifier="e2"
            ),
        ],
    )


def _prices() -> dict[str, so.JsonObject]:
    tiers = [so.tier(50, unit_amount="0.5", flat_amount=100), so.tier(None, unit_amount="1E-12")]
    euro = so.currency_option(tiers=[so.tier(None, unit_amount="0.45")])
    common = {"product": "prod_1", "currency": "usd", "created": JAN}
    return {
        "seat": so.price("price_seat", unit_amount=4900, **common),
        "calls": so.price(
            "price_calls",
            tiers=tiers,
            tiers_mode="graduated",
            usage_type="metered",
            meter="mtr_calls",
            currency_options={"eur": euro},
            **common,
        ),
        "old": so.price("price_old", unit_amount="1900", active=False, **common),
        "inline": so.price(
            "price_inline", unit_amount="0.05", transform_quantity=(1000, "up"), **common
        ),
    }


def _item(name: str, price: so.JsonObject, subscription: str) -> so.JsonObject:
    return so.subscription_item(
        name,
        subscription=subscription,
        price=price,
        created=JAN,
        current_period_start=JUN,
        current_period_end=JUL,
        quantity=2,
    )


def _invoice(prices: dict[str, so.JsonObject], discount: so.JsonObject) -> so.JsonObject:
    common = {"invoice": "in_1", "currency": "usd", "period_start": MAY, "period_end": JUN}
    lines = [
        so.line(
            f"il_{number}",
            amount=9800,
            price=prices["seat"],
            quantity=2,
            subscription="sub_1",
            subscription_item=f"si_{number}",
            discount_amounts=[("di_sub", 500)],
            **common,
        )
        for number in range(14)
    ]
    lines.append(
        so.line(
            "il_usage",
            amount=63,
            price=prices["calls"],
            quantity="125.5",
            subscription="sub_1",
            subscription_item="si_1",
            **common,
        )
    )
    lines.append(
        so.line(
            "il_pending",
            amount=-3,
            price=prices["seat"],
            quantity=1,
            subscription="sub_1",
            invoice_item="ii_1",
            proration=True,
            credited_items=("in_0", ["il_x"]),
            **common,
        )
    )
    return so.invoice(
        "in_1",
        customer="cus_1",
        currency="usd",
        created=JUN,
        lines=lines,
        subscription="sub_1",
        discounts=[discount],
    )

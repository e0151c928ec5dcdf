"""Customers with discounts and credits in every mixture.

The amounts on the invoices are worked out by hand as Stripe takes discounts off: one after the
other, each rounded on what those before it leave; a fixed amount is split over the lines, floored,
the rest to the last.
"""

from collections.abc import Sequence
from typing import Any

from leakage_pipeline.simulator import stripe_objects as so
from tests.support.small_company import Item, SmallCompany, at

FIRST, SECOND, THIRD = "2026-10-10T14:23:07", "2026-11-10T14:23:07", "2026-12-10T14:23:07"
MID = "2026-10-25T00:00:00"
HALF = "2026-10-26T02:23:07"  # 15.5 days into a period of 31
PERIODS = (FIRST, SECOND, THIRD)
CLOSED, OPEN = (FIRST, SECOND), (SECOND, THIRD)

Off = Sequence[tuple[str, int]]


class Company(SmallCompany):
    """A small company with coupons and discounted customers."""

    def coupon(self, name: str, **terms: Any) -> str:
        """A coupon, repeating unless told otherwise: its own word holds without a contract."""
        terms.setdefault("duration", "repeating")
        self.account.coupons.append(so.coupon(name, created=self.created, **terms))
        return name

    def given(self, customer: str, coupon: str, end: str | None = None, **owner: Any) -> Any:
        """A discount `di_<customer>_<coupon>`, of the customer's subscription unless told."""
        owner = owner or {"subscription": f"sub_{customer}"}
        return so.discount(
            f"di_{customer}_{coupon}",
            coupon=coupon,
            start=at("2026-01-01"),
            end=None if end is None else at(end),
            customer=customer,
            **owner,
        )

    def discounted(
        self,
        customer: str,
        price: so.JsonObject,
        taken: Off,
        *,
        ends: dict[str, str] | None = None,
        invoiced: Sequence[tuple[str, str]] = (CLOSED, OPEN),
        **terms: Any,
    ) -> None:
        """One licence whose invoices take (coupon, minor units) off the line, in this order."""
        discounts = [self.given(customer, name, (ends or {}).get(name)) for name, _ in taken]
        self.subscribe(customer, [Item(price)], periods=PERIODS, discounts=discounts, **terms)
        for period in invoiced:
            off = [(f"di_{customer}_{name}", amount) for name, amount in taken]
            line = self.line(
                f"sub_{customer}", price, price["unit_amount"], period, discount_amounts=off
            )
            self.invoice(customer, period[0], [line], discounts=discounts)

    def contract(self, customer: str, **terms: Any) -> None:
        """A contract of a year that grants what the test says."""
        self.contracts.append(
            {
                "contract_id": f"ctr_{customer}",
                "customer_id": customer,
                "currency": "usd",
                "interval": "month",
                "effective_date": "2026-01-01",
                "end_date": "2026-12-31",
                **terms,
            }
        )


def _honest(company: Company, pro: so.JsonObject) -> None:
    """Invoices that give what the coupons say, in every order and mixture."""
    # 149.00 - 10 % = 134.10; - 5.00 = 129.10.
    company.discounted("honest_percent_amount", pro, [("ten", 1490), ("five_usd", 500)])
    # 149.00 - 5.00 = 144.00; - 10 % = 129.60.
    company.discounted("honest_amount_percent", pro, [("five_usd", 500), ("ten", 1440)])
    # 149.00 - 5.00 = 144.00; - 10 % = 129.60; - 3.00 = 126.60; - 20 % = 101.28.
    mixture = [("five_usd", 500), ("ten", 1440), ("three_usd", 300), ("twenty", 2532)]
    company.discounted("honest_mixture", pro, mixture)
    # 10.02 - 25 % = 7.51 (2.505 off, rounded up); - 50 % = 3.75 (3.755 off, rounded up). At once
    # it would be 62.5 % = 6.2625, one cent less off.
    odd = company.price("odd", unit_amount=1002)
    company.discounted("honest_two_roundings", odd, [("quarter", 251), ("half", 376)])
    company.discounted("honest_free", pro, [("all", 14900)])
    # 50.00 off 40.00 leaves nothing, and the rest of the coupon lapses.
    cheap = company.price("cheap", unit_amount=4000)
    company.discounted("honest_amount_above_line", cheap, [("fifty_usd", 4000)])
    # The price should be 45.00: the coupon covers that as well, and nothing leaks.
    starter = company.price("starter", "starter", unit_amount=4000, created=company.created - 1)
    company.discounted("honest_amount_above_list", starter, [("fifty_usd", 4000)])
    # Stripe shows the coupon no more; the line says that it was 12.5 %, 18.625 -> 18.63.
    company.discounted("honest_hidden_coupon", pro, [("gone", 1863)])
    # Ends inside the closed period: taken off its invoice, made at its start, and off no later one.
    discount = [("ten", 1490)]
    company.discounted("honest_ends", pro, discount, ends={"ten": MID}, invoiced=[CLOSED])
    line = company.line("sub_honest_ends", pro, 14900, OPEN)
    company.invoice("honest_ends", SECOND, [line])
    # The contract grants 40 %: 25 % and 20 % stacked are the same, whatever the rounding.
    company.discounted("honest_contract_stack", odd, [("quarter", 251), ("twenty", 150)])
    company.contract("honest_contract_stack", discount_percent=40, discount_reason="negotiated")
    # The contract's 10 % and a fixed amount that the coupon gives beside it.
    company.discounted("honest_contract_amount", pro, [("five_usd", 500), ("ten", 1440)])
    company.contract("honest_contract_amount", discount_percent=10, discount_reason="negotiated")


def _honest_lines(company: Company, pro: so.JsonObject) -> None:
    """Several lines and several carriers of discounts on one invoice."""
    # 5.00 over lines of 10.00 and 20.00: 1.66 and 3.34, as Stripe splits it.
    small = company.price("small", unit_amount=1000)
    large = company.price("large", unit_amount=2000)
    customer = "honest_split"
    discounts = [company.given(customer, "five_usd")]
    subscription = company.subscribe(
        customer, [Item(small), Item(large)], periods=PERIODS, discounts=discounts
    )
    for period in (CLOSED, OPEN):
        lines = [
            company.line(subscription, price, amount, period, discount_amounts=[(of, off)])
            for price, amount, off in ((small, 1000, 166), (large, 2000, 334))
            for of in [f"di_{customer}_five_usd"]
        ]
        company.invoice(customer, period[0], lines, discounts=discounts)
    # Item discount of 25 % on the large one, then 10 % of the subscription on both.
    customer = "honest_item_level"
    item = company.item_id(f"sub_{customer}", large)
    own = company.given(customer, "quarter", subscription_item=item, subscription=f"sub_{customer}")
    discounts = [company.given(customer, "ten")]
    subscription = company.subscribe(
        customer, [Item(small), Item(large)], periods=PERIODS, discounts=discounts
    )
    for period in (CLOSED, OPEN):
        off = [(f"di_{customer}_quarter", 500), (f"di_{customer}_ten", 150)]
        lines = [
            company.line(
                subscription, small, 1000, period, discount_amounts=[(f"di_{customer}_ten", 100)]
            ),
            company.line(subscription, large, 2000, period, discount_amounts=off, discounts=[own]),
        ]
        company.invoice(customer, period[0], lines, discounts=discounts)
    _honest_tiers(company)
    # The customer's own discount, and the subscription has none.
    customer = "honest_customer_level"
    company.subscribe(customer, [Item(pro)], periods=PERIODS)
    own = company.given(customer, "ten", subscription=None)
    company.account.customers[-1]["discount"] = own
    for period in (CLOSED, OPEN):
        line = company.line(
            f"sub_{customer}", pro, 14900, period, discount_amounts=[(own["id"], 1490)]
        )
        company.invoice(customer, period[0], [line], discounts=[own])


def _honest_tiers(company: Company) -> None:
    """Usage in two tiers gives two lines; 10 % and then 5.00 come off both."""
    # 150 x 0.07 = 10.50 -> 1.05 off, 9.45 left; 90 x 0.05 = 4.50 -> 0.45 off, 4.05 left. 5.00 by
    # what is left: 5.00 x 9.45 / 13.50 = 3.50 and 1.50.
    meter = company.meter("renders")
    tiers = [so.tier(150, unit_amount=7), so.tier(None, unit_amount=5)]
    price = company.price(
        "renders", tiers=tiers, tiers_mode="graduated", usage_type="metered", meter=meter
    )
    customer = "honest_tiers"
    discounts = [company.given(customer, "ten"), company.given(customer, "five_usd")]
    subscription = company.subscribe(customer, [Item(price)], periods=PERIODS, discounts=discounts)
    lines = [
        company.line(
            subscription,
            price,
            amount,
            CLOSED,
            quantity=quantity,
            discount_amounts=[(f"di_{customer}_ten", ten), (f"di_{customer}_five_usd", five)],
        )
        for amount, quantity, ten, five in ((1050, 150, 105, 350), (450, 90, 45, 150))
    ]
    company.invoice(customer, SECOND, lines, discounts=discounts)
    company.use(customer, "renders", 240, "2026-10-20T00:00:00")
    company.meter_event(customer, "renders", 240, "2026-10-20T00:00:00")


def _honest_prorations(company: Company) -> None:
    """10.01 to 20.03 half-way through the period, the discount inside the pair or beside it."""
    small = company.price("before_change", unit_amount=1001)
    large = company.price("after_change", unit_amount=2003)
    rest = (HALF, SECOND)

    def changed(customer: str, taken: Off, pair: Sequence[so.JsonObject], then: Off) -> None:
        names = dict.fromkeys(name for name, _ in (*taken, *then))
        discounts = [company.given(customer, name) for name in names]
        if len(names) > 1:
            discounts[0]["end"] = discounts[1]["start"] = at(HALF)
        subscription = company.subscribe(
            customer, [Item(large)], periods=PERIODS, discounts=discounts
        )

        def line(price: so.JsonObject, period: tuple[str, str], off: Off) -> so.JsonObject:
            shares = [(f"di_{customer}_{name}", amount) for name, amount in off]
            amount = price["unit_amount"]
            return company.line(subscription, price, amount, period, discount_amounts=shares)

        first = [line(small, CLOSED, taken)]
        second = [*pair, line(large, OPEN, then)]
        for built in (*first, *second):  # one item, whatever its price was
            details = built["parent"][built["parent"]["type"]]
            details["subscription_item"] = company.item_id(subscription, large)
        company.invoice(customer, FIRST, first, discounts=discounts)
        company.invoice(customer, SECOND, second, discounts=discounts)

    def part(customer: str, price: so.JsonObject, amount: int, off: Off = ()) -> so.JsonObject:
        return company.line(
            f"sub_{customer}",
            price,
            amount,
            rest,
            proration=True,
            invoice_item=f"ii_{customer}_{amount}",
            discount_amounts=[(f"di_{customer}_{name}", share) for name, share in off],
        )

    # 10 % all along, inside: -5.005 less 10 % is -4.5045, floored; 10.015 less 10 % is 9.0135.
    name = "honest_prorated"
    pair = [part(name, small, -451), part(name, large, 901)]
    changed(name, [("ten", 100)], pair, [("ten", 200)])
    # 20 % in place of 10 % since the change; classic takes the current one for both halves.
    name = "honest_prorated_current"
    pair = [part(name, small, -401), part(name, large, 801)]
    changed(name, [("ten", 100)], pair, [("twenty", 401)])
    # The same under flexible: the credit at the original debit's 10 %.
    name = "honest_prorated_original"
    pair = [part(name, small, -451), part(name, large, 801)]
    changed(name, [("ten", 100)], pair, [("twenty", 401)])
    # Itemised: gross amounts, each with its own discount.
    name = "honest_prorated_itemized"
    pair = [part(name, small, -501, [("ten", -50)]), part(name, large, 1001, [("ten", 100)])]
    changed(name, [("ten", 100)], pair, [("ten", 200)])


def _wrong(company: Company, pro: so.JsonObject) -> None:
    """Discounts of which a part is not due, and prices that are wrong under a discount."""
    # The contract grants 10 % = 14.90; 10 % and 20 % of the rest are given = 41.72. Leak 26.82.
    company.discounted("wrong_stack", pro, [("ten", 1490), ("twenty", 2682)])
    company.contract("wrong_stack", discount_percent=10, discount_reason="negotiated")
    # 20 % ended before the invoice: 29.80 and 10 % of 119.20 = 11.92 are given, 10 % of 149.00 =
    # 14.90 are due. Leak 41.72 - 14.90 = 26.82.
    ended = {"twenty": "2026-09-01"}
    company.discounted("wrong_first", pro, [("twenty", 2980), ("ten", 1192)], ends=ended)
    # The same at 10.02, where each step rounds: 2.00 and 10 % of 8.02 = 0.80 given, 1.00 due.
    odd = company.price("odd_too", unit_amount=1002)
    company.discounted("wrong_rounded", odd, [("twenty", 200), ("ten", 80)], ends=ended)
    # 7.00 of the 12.00 ended.
    ended = {"seven_usd": "2026-09-01"}
    company.discounted("wrong_amount", pro, [("seven_usd", 700), ("five_usd", 500)], ends=ended)
    # 7.00 ended; it took 7.00 off 10.00 and left 3.00 for a coupon of 5.00. Due are 5.00 of the
    # 10.00 that were given.
    ten_usd = company.price("ten_usd", unit_amount=1000)
    company.discounted(
        "wrong_amount_first", ten_usd, [("seven_usd", 700), ("five_usd", 300)], ends=ended
    )
    # Price 99.00 instead of 149.00, and 10 % and then 5.00 off, both due: the leak is the price
    # after 10 %, 45.00, for the fixed amount stays.
    old = company.price("pro_old", "pro", unit_amount=9900, created=company.created - 1)
    company.discounted("wrong_price", old, [("ten", 990), ("five_usd", 500)])
    # The contract grants 15 %: 5.00 and 15 % of 144.00 = 21.60 are due, 26.60; 5.00 and 10 % of
    # 144.00 are given, 19.40. The customer is owed 7.20.
    company.discounted("wrong_too_little", pro, [("five_usd", 500), ("ten", 1440)])
    company.contract("wrong_too_little", discount_percent=15, discount_reason="negotiated")


def _missing(company: Company, pro: so.JsonObject) -> None:
    """Invoices that were never made: what they would have taken off."""
    # 149.00 - 10 % - 5.00 = 129.10; the order is that of the next invoice.
    company.discounted("missing_mixture", pro, [("ten", 1490), ("five_usd", 500)], invoiced=[OPEN])
    # 149.00 - 5.00 = 144.00; - 10 % = 129.60.
    company.discounted(
        "missing_amount_percent", pro, [("five_usd", 500), ("ten", 1440)], invoiced=[OPEN]
    )
    # The discount ended before the invoice was due: 149.00.
    ended = {"ten": "2026-10-01"}
    company.discounted("missing_ended", pro, [("ten", 1490)], ends=ended, invoiced=[])
    line = company.line("sub_missing_ended", pro, 14900, OPEN)
    company.invoice("missing_ended", SECOND, [line])
    # Given once, on the later invoice: nothing left for the missing one, 149.00.
    company.discounted("missing_once", pro, [("once", 2000)], invoiced=[OPEN])
    # For another product than the licence's: 149.00.
    company.discounted("missing_other_product", pro, [("other_product", 0)], invoiced=[])
    line = company.line("sub_missing_other_product", pro, 14900, OPEN)
    company.invoice("missing_other_product", SECOND, [line])
    # Two licences of 10.00 and 20.00 and 5.00 off them: 25.00.
    small = company.price("small_too", unit_amount=1000)
    large = company.price("large_too", unit_amount=2000)
    customer = "missing_split"
    discounts = [company.given(customer, "five_usd")]
    company.subscribe(customer, [Item(small), Item(large)], periods=PERIODS, discounts=discounts)
    lines = [
        company.line(f"sub_{customer}", price, amount, OPEN, discount_amounts=[(of, off)])
        for price, amount, off in ((small, 1000, 166), (large, 2000, 334))
        for of in [f"di_{customer}_five_usd"]
    ]
    company.invoice(customer, SECOND, lines, discounts=discounts)
    # In euro the coupon takes 4.00: 149.00 - 4.00 = 145.00.
    euro = company.price("pro_eur", unit_amount=14900, currency="eur")
    company.discounted("missing_euro", euro, [("five_usd", 400)], invoiced=[OPEN], currency="eur")


def _credits(company: Company, pro: so.JsonObject) -> None:
    """Credit notes in time and within their line, and others; the window is 30 days."""

    def note(customer: str, created: str, *lines: so.JsonObject, **terms: Any) -> None:
        (invoice,) = (
            found
            for found in company.account.invoices
            if found["customer"] == customer and found["created"] == at(FIRST)
        )
        count = len(company.account.credit_notes)
        built = so.credit_note(
            f"cn_{count}", invoice=invoice, created=at(created), lines=lines, **terms
        )
        if built["status"] == "issued":
            for part in ("pre_payment", "post_payment"):
                invoice[f"{part}_credit_notes_amount"] += built[f"{part}_amount"]
        company.account.credit_notes.append(built)

    def credit(customer: str, amount: int, **terms: Any) -> so.JsonObject:
        count = len(company.account.credit_notes)
        line = f"il_sub_{customer}_price_pro_{at(FIRST)}_14900"
        terms.setdefault("invoice_line_item", line)
        return so.credit_note_line(f"cnli_{count}_{amount}", amount=amount, **terms)

    def billed(customer: str, **terms: Any) -> None:
        company.discounted(customer, pro, [("ten", 1490)], **terms)

    # A third of the line, with its part of the discount: 50.00 less 5.00, and 20.00 % tax on top.
    billed("credit_line")
    tax = so.tax(900, taxable_amount=4500)
    shares = [("di_credit_line_ten", 500)]
    note("credit_line", MID, credit("credit_line", 5000, discount_amounts=shares, taxes=[tax]))
    # A note on its own words, and a void one: 30.00.
    billed("credit_custom")
    note("credit_custom", MID, credit("credit_custom", 3000, invoice_line_item=None))
    note("credit_custom", MID, credit("credit_custom", 9900), status="void", voided_at=at(MID))
    # 149.00 came back of a line of 134.10.
    billed("credit_above")
    note("credit_above", MID, credit("credit_above", 14900))
    # 100.00 and 60.00 of 134.10, in two notes: 25.90 too much.
    billed("credit_several")
    note("credit_several", MID, credit("credit_several", 10000))
    note("credit_several", "2026-10-26", credit("credit_several", 6000))
    # 36 days after the invoice.
    billed("credit_late")
    note("credit_late", "2026-11-15T16:00:00", credit("credit_late", 4000))
    # The same, and someone approved it.
    billed("credit_approved")
    note("credit_approved", "2026-11-15T16:00:00", credit("credit_approved", 4000))
    company.exceptions.append(
        {
            "exception_id": "ex_credit",
            "customer_id": "credit_approved",
            "leakage_type": "over_credited",
            "reason": "outage in October",
            "approved_by": "cfo@example.com",
            "valid_from": "2026-10-01",
        }
    )


def fill(company: Company) -> None:
    """Add the customers of all cases."""
    for plan, price in (("pro", "149.00"), ("starter", "45.00")):
        company.list_plan(plan, price)
    for name, percent in (("ten", 10), ("twenty", 20), ("quarter", 25), ("half", 50), ("all", 100)):
        company.coupon(name, percent_off=percent)
    for name, amount in (("three_usd", 300), ("seven_usd", 700), ("fifty_usd", 5000)):
        company.coupon(name, amount_off=amount, currency="usd")
    company.coupon("five_usd", amount_off=500, currency="usd")
    company.account.coupons[-1]["currency_options"] = {"eur": {"amount_off": 400}}
    company.coupon("once", amount_off=2000, currency="usd", duration="once")
    company.coupon("other_product", percent_off=30, applies_to_products=["prod_elsewhere"])
    pro = company.price("pro", "pro", unit_amount=14900)
    _honest(company, pro)
    _honest_lines(company, pro)
    _honest_prorations(company)
    _wrong(company, pro)
    _missing(company, pro)
    _credits(company, pro)

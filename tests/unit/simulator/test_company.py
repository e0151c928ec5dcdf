"""The simulated company as a whole: repeatable, complete, with labels that stand apart."""

import csv
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
import yaml

from leakage_pipeline.simulator import opportunities
from leakage_pipeline.simulator.catalog import METERS
from leakage_pipeline.simulator.company import Company, generate, generate_side_by_side
from leakage_pipeline.simulator.customers_profiles import PROFILES
from leakage_pipeline.simulator.ground_truth import Label
from leakage_pipeline.simulator.invoicing_periods import epoch
from leakage_pipeline.simulator.leaks import LEAKS, incident_started_at
from leakage_pipeline.simulator.leaks_drafts import ON_DRAFTS
from leakage_pipeline.simulator.stripe_objects import StripeAccount
from tests.unit.simulator.stripe_spec import needs_spec, problems

ROOT = Path(__file__).parents[3]
AS_OF = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def company() -> Company:
    return generate(3, 330, AS_OF, events_per_month=10)


@pytest.fixture(scope="module")
def planted(company: Company) -> list[Label]:
    """The labels of planted leaks; opportunities follow from usage, whoever it is."""
    return [label for label in company.labels if label.leakage_type not in opportunities.TYPES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("company")
    generate(5, 60, AS_OF, events_per_month=10).write(path)
    return path


def content(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_same_seed_gives_the_same_files(folder: Path, tmp_path: Path) -> None:
    generate(5, 60, AS_OF, events_per_month=10).write(tmp_path)
    assert content(folder) == content(tmp_path)


def test_another_seed_gives_another_company(company: Company) -> None:
    other = generate(4, 10, AS_OF, events_per_month=5)
    known = {history.customer.customer_id for history in company.histories}
    assert not known & {history.customer.customer_id for history in other.histories}


def test_every_type_leaks_at_three_customers_or_more(company: Company) -> None:
    with (ROOT / "dbt_project" / "seeds" / "finding_types.csv").open(newline="") as file:
        known = {row["leakage_type"] for row in csv.DictReader(file)}
    leaking = Counter(
        leakage_type
        for leakage_type, _ in {(label.leakage_type, label.customer_id) for label in company.labels}
    )
    assert set(leaking) == known == {*LEAKS, *opportunities.TYPES}
    assert min(leaking.values()) >= 3


def test_one_leak_per_customer(planted: list[Label]) -> None:
    types: dict[str, set[str]] = {}
    for label in planted:
        types.setdefault(label.customer_id, set()).add(label.variant)
    assert all(len(found) == 1 for found in types.values())


def test_every_planted_leak_has_labels(company: Company, planted: list[Label]) -> None:
    leaky = {h.customer.customer_id for h in company.histories if h.customer.leak}
    strays = {h.customer.stray_usage[0] for h in company.histories if h.customer.stray_usage}
    own = {h.customer.customer_id for h in company.histories if h.customer.stray_usage is None}
    labelled = {label.customer_id for label in planted}
    assert leaky & own == labelled & own
    assert labelled - own == {name for name in strays if name.startswith("acct_ghost")}


def test_labels_are_worth_publishing(planted: list[Label]) -> None:
    for label in planted:
        if label.amount is None:
            assert label.variant == "nobody_prices_it"
            continue
        assert label.amount >= (150 if label.currency == "jpy" else 1)
        assert label.amount == label.amount.quantize(Decimal("0.01"))


def test_labels_are_unique_rows(company: Company) -> None:
    keys = [
        (x.customer_id, x.subscription_id, x.leakage_type, x.meter, x.period_start)
        for x in company.labels
    ]
    assert len(keys) == len(set(keys))


def test_closed_labels_keep_clear_of_the_grace_days(planted: list[Label]) -> None:
    for label in planted:
        if label.phase == "closed" and label.leakage_type != "access_after_cancellation":
            assert label.period_end <= AS_OF - timedelta(days=3)


def test_wrong_drafts_are_held_and_right_ones_are_not(
    company: Company, planted: list[Label]
) -> None:
    on_drafts = [label for label in planted if label.phase == "preflight"]
    assert {label.customer_id for label in on_drafts} == {h["customer_id"] for h in company.holds}
    assert {label.variant for label in on_drafts} <= ON_DRAFTS
    assert all(hold["drafted_amount"] != hold["expected_amount"] for hold in company.holds)
    drafts = {invoice["customer"] for invoice in company.account.invoices
              if invoice["status"] == "draft"}  # fmt: skip
    renewing = {
        h.customer.customer_id for h in company.histories if h.customer.profile == "renews_now"
    }
    assert renewing <= drafts
    assert not renewing & {hold["customer_id"] for hold in company.holds}


def test_nothing_is_known_before_it_happens() -> None:
    for seed in range(40, 60):
        honest = generate(seed, len(PROFILES), AS_OF, leaks=False, events_per_month=2)
        assert all(h.customer.account.updated_at <= AS_OF for h in honest.histories)


def test_approved_exceptions_cover_what_would_be_leaks(company: Company) -> None:
    approved = {h.customer.customer_id for h in company.histories if h.customer.approval}
    assert {label.customer_id for label in company.covered} == approved
    assert {label.leakage_type for label in company.covered} == {
        *("outdated_pricing", "over_credited")
    }
    assert not approved & {label.customer_id for label in company.labels}


def test_usage_that_missed_its_invoice_is_billed_with_the_next_one(company: Company) -> None:
    carried = [h for h in company.histories if h.customer.profile == "reported_next_period"]
    assert carried
    for history in carried:
        usage = history.usage["api_calls"]
        gaps = [
            usage.true_quantity(index) - usage.metered_quantity(index)
            for index in range(len(usage.periods))
        ]
        assert sum(gaps) == 0
        assert sorted(gaps)[0] < 0 < sorted(gaps)[-1]
        for index, gap in enumerate(gaps):
            assert abs(gap) * 100 <= 5 * usage.metered_quantity(index)


def test_the_incident_starts_on_one_day_for_its_whole_group(company: Company) -> None:
    since = epoch(incident_started_at(AS_OF)) * 10**6
    group = [h for h in company.histories if h.customer.profile.endswith("/source_stopped")]
    assert len(group) >= 3
    for history in group:
        for events in history.usage["transcode_minutes"].periods:
            for event in events:
                is_silent = event.at >= since and event.source == "encode_4k"
                assert event.reports == (0 if is_silent else 1)


def test_without_leaks_there_are_opportunities_at_most() -> None:
    honest = generate(3, 2 * len(PROFILES), AS_OF, leaks=False, events_per_month=4)
    assert {label.leakage_type for label in honest.labels} <= set(opportunities.TYPES)
    assert honest.holds == ()
    assert {history.customer.profile for history in honest.histories} == set(PROFILES)


def test_small_gaps_stay_within_the_tolerance() -> None:
    honest = generate(3, 2 * len(PROFILES), AS_OF, leaks=False, events_per_month=20)
    gaps = 0
    for history in honest.histories:
        for usage in history.usage.values():
            for index in range(len(usage.periods)):
                true, metered = usage.true_quantity(index), usage.metered_quantity(index)
                assert abs(true - metered) * 100 <= 5 * metered
                gaps += true != metered
    assert gaps > 3


def test_late_events_arrive_before_their_invoice_is_final(company: Company) -> None:
    late = 0
    for history in company.histories:
        for usage in history.usage.values():
            for period, events in zip(history.periods, usage.periods, strict=True):
                final = (epoch(period.end) + 3600) * 10**6
                for event in events:
                    fault = history.customer.usage_fault
                    is_planted = fault is not None and (
                        "late" in fault.kind or fault.kind == "carried_over"
                    )
                    assert event.received_at < (final if not is_planted else epoch(AS_OF) * 10**6)
                    assert event.received_at < epoch(AS_OF) * 10**6
                late += sum(event.received_at - event.at > 3600 * 10**6 for event in events)
    assert late > 100


def test_some_anchors_lie_at_month_ends(company: Company) -> None:
    assert {29, 30, 31} <= {history.customer.start.day for history in company.histories}


def test_ids_are_unique(company: Company) -> None:
    account = company.account
    kinds = ("customers", "prices", "coupons", "subscriptions", "invoices", "invoice_items")
    moved = ("charges", "refunds", "disputes", "invoice_payments", "payment_methods", "events")
    for kind in (*kinds, *moved):
        ids = [entry["id"] for entry in getattr(account, kind)]
        assert len(ids) == len(set(ids)), kind
    identifiers = [event["identifier"] for event in account.meter_events]
    assert len(identifiers) == len(set(identifiers))
    lines = [line["id"] for invoice in account.invoices for line in invoice["lines"]["data"]]
    assert len(lines) == len(set(lines))


def test_every_price_in_use_is_in_the_account(company: Company) -> None:
    account = company.account
    known = {price["id"] for price in (*account.prices, *account.inline_prices)}
    used = {
        line["pricing"]["price_details"]["price"]
        for invoice in account.invoices
        for line in invoice["lines"]["data"]
        if line["pricing"] is not None  # a fee that somebody added by hand
    }
    assert used <= known
    assert account.inline_prices
    assert any(not price["active"] for price in account.prices)


def test_honest_customers_have_payments_that_only_look_like_trouble() -> None:
    account = generate(3, 60, AS_OF, leaks=False, events_per_month=2).account
    assert {refund["status"] for refund in account.refunds} == {"failed", "succeeded"}
    assert {dispute["status"] for dispute in account.disputes} == {"won", "lost", "warning_closed"}
    assert any(item["invoice"] is None for item in account.invoice_items)
    assert any(method["type"] == "sepa_debit" for method in account.payment_methods)
    assert any(event["pending_webhooks"] for event in account.events)
    assert any(subscription["status"] == "past_due" for subscription in account.subscriptions)


def test_refunds_never_give_back_more_than_was_charged(company: Company) -> None:
    for charge in company.account.charges:
        back = [r for r in company.account.refunds if r["charge"] == charge["id"]]
        given = sum(refund["amount"] for refund in back if refund["status"] == "succeeded")
        assert given == charge["amount_refunded"] <= charge["amount"]


@needs_spec
def test_objects_fit_stripes_published_file(company: Company) -> None:
    account = company.account
    kinds = (account.customers, account.products, account.prices, account.inline_prices)
    more = (account.coupons, account.subscriptions, account.meters, account.credit_notes)
    moved = (account.charges, account.refunds, account.disputes, account.invoice_payments)
    told = (account.events, account.webhook_endpoints, account.payment_methods)
    items = (account.invoice_items, account.invoices[::40])
    for objects in (*kinds, *more, *moved, *told, *items):
        for entry in objects[:25]:
            assert problems(entry) == [], entry["id"]


def test_price_shapes(company: Company) -> None:
    metered = [p for p in company.account.prices if p["recurring"]["usage_type"] == "metered"]
    assert {price["tiers_mode"] for price in metered} == {None, "graduated", "volume"}
    assert {p["transform_quantity"]["round"] for p in metered if p["transform_quantity"]} == {
        *("up", "down")
    }
    assert any(t["flat_amount"] for price in metered for t in price.get("tiers", ()))
    assert any(price["unit_amount_decimal"] == "0.04" for price in metered)


def test_usage_files_hold_repeated_and_bad_rows(folder: Path) -> None:
    query = f"""
        select
            count(*) - count(distinct event_id) - count(*) filter (where event_id is null),
            count(*) filter (where event_id is null),
            count(*) filter (where value < 0),
            count(*) filter (where occurred_at > timestamptz '{AS_OF.isoformat()}')
        from read_parquet('{folder}/data/usage/**/*.parquet', hive_partitioning = true)
    """  # noqa: S608 - a path of our own
    with duckdb.connect() as connection:
        [(repeated, without_id, negative, future)] = connection.execute(query).fetchall()
    assert repeated > 10
    assert (without_id, negative, future) == (4, 4, 4)


def test_business_files(folder: Path) -> None:
    with (folder / "data/price_book.csv").open() as file:
        book = list(csv.DictReader(file))
    pro = [r for r in book if (r["plan"], r["currency"], r["interval"]) == ("Pro", "usd", "month")]
    assert [row["base_price"] for row in pro] == ["129.00", "149.00"]
    assert json.loads(pro[0]["included_usage"]) == {"api_calls": 50000, "transcode_minutes": 500}
    assert json.loads(pro[0]["overage_rates"]) == {
        "api_calls": {
            "tiers_mode": "graduated",
            "tiers": [
                {"up_to": 50000, "unit_amount": "0.005"},
                {"up_to": None, "unit_amount": "0.004"},
            ],
        },
        "transcode_minutes": {"price": "0.1", "per": 1, "rounding": "none"},
        "sms_per_1000": 5.0,
    }
    with (folder / "data/accounts.csv").open() as file:
        assert len(list(csv.DictReader(file))) >= 60


def test_configuration_names_the_files(folder: Path) -> None:
    settings = yaml.safe_load((folder / "leakage.yaml").read_text())
    for key in ("contracts", "price_book", "accounts", "fx_rates"):
        assert (folder / settings["sources"][key]).is_file()
    mapped = settings["meters"]["transcode_minutes"]["stripe_event_name"]
    assert mapped == METERS["transcode_minutes"].event_name == "transcode_min"


def test_the_account_survives_its_file(folder: Path) -> None:
    again = StripeAccount.from_json(folder / "stripe_account.json")
    assert again.customers == generate(5, 60, AS_OF, events_per_month=10).account.customers


def test_ground_truth_file(folder: Path) -> None:
    truth = json.loads((folder / "ground_truth.json").read_text())
    assert {label["leakage_type"] for label in truth["labels"]} <= {*LEAKS, *opportunities.TYPES}
    assert set(truth["labels"][0]) == {
        *("customer_id", "subscription_id", "leakage_type", "variant", "meter", "period_start"),
        *("period_end", "phase", "currency", "amount"),
    }


@pytest.mark.parametrize("customers", [1, 2, 9])
def test_small_companies(customers: int) -> None:
    assert len(generate(1, customers, AS_OF, events_per_month=3).histories) == customers


def test_any_instant_will_do() -> None:
    for as_of in (datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC), datetime(2025, 3, 31, 0, 0)):  # noqa: DTZ001 - without offset it is UTC
        assert generate(2, 40, as_of, events_per_month=3).labels


def test_nobody_is_no_company() -> None:
    with pytest.raises(ValueError, match="at least one customer"):
        generate(1, 0, AS_OF)


def test_companies_side_by_side_are_those_of_their_seeds() -> None:
    together = generate_side_by_side((3, 4), 20, AS_OF)
    alone = [generate(seed, 20, AS_OF) for seed in (3, 4)]
    assert together.labels == (*alone[0].labels, *alone[1].labels)
    assert together.account.invoices == [*alone[0].account.invoices, *alone[1].account.invoices]


@pytest.mark.parametrize("seeds", [(), (1, 1)])
def test_side_by_side_needs_different_seeds(seeds: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="different seeds"):
        generate_side_by_side(seeds, 20, AS_OF)

"""Random companies for checking the audit: honest ones, and ones with known leaks.

`random_company` makes one from a seed, `merge` puts many into one directory and Stripe account.
"""

import csv
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from leakage_pipeline.simulator import stripe_objects as build
from leakage_pipeline.simulator.billing_engine.account import Life, add_to, bill
from leakage_pipeline.simulator.billing_engine.prices import (
    BilledPrice,
    meter_object,
    price_object,
)
from leakage_pipeline.simulator.ground_truth import Label
from leakage_pipeline.simulator.random_company_changes import draw_changes, draw_second
from leakage_pipeline.simulator.random_company_customers import (
    Member,
    Scene,
    contract_row,
    draw_member,
    use,
)
from leakage_pipeline.simulator.random_company_leaks import plant
from leakage_pipeline.simulator.random_company_noise import season
from leakage_pipeline.simulator.random_company_terms import FOUNDED, Terms, draw_terms
from leakage_pipeline.simulator.random_company_usage import LogEvent
from leakage_pipeline.simulator.stripe_objects import JsonObject, StripeAccount

COARSE_SHARE = 0.4
AS_OF = datetime(2026, 11, 20, 6, tzinfo=UTC)
COLUMNS = {
    "contracts": (
        *("contract_id", "customer_id", "plan", "base_price", "currency", "interval"),
        *("included_usage", "overage_rates", "grace_percent", "discount_percent"),
        *("discount_reason", "discount_threshold", "minimum_commitment", "grandfathered"),
        *("effective_date", "end_date"),
    ),
    "price_book": (
        *("plan", "currency", "interval", "base_price", "included_usage", "overage_rates"),
        *("features", "seats_included", "effective_from"),
    ),
    "accounts": (
        *("account_id", "customer_id", "plan", "status", "access_enabled", "seats", "features"),
        *("updated_at", "health_score", "churn_risk", "owner_email"),
    ),
    "usage": ("event_id", "customer_id", "meter", "value", "occurred_at", "source"),
}


@dataclass
class RandomCompany:
    """A company, or several merged into one: what Stripe shows, the files, the known leaks."""

    seeds: tuple[int, ...]
    account: StripeAccount = field(default_factory=StripeAccount)
    tables: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {name: [] for name in COLUMNS}
    )
    meters: dict[str, str] = field(default_factory=dict)
    labels: list[Label] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)

    def write(self, directory: Path) -> None:
        """Write the input files and leakage.yaml into a folder."""
        for name, columns in COLUMNS.items():
            with (directory / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, columns)
                writer.writeheader()
                writer.writerows(self.tables[name])
        sources: dict[str, Any] = {name: f"{name}.csv" for name in COLUMNS if name != "usage"}
        sources["usage"] = [{"name": "log", "kind": "files", "uri": "usage.csv"}]
        configuration = {
            "company": "Random companies",
            "reporting_currency": "usd",
            "sources": sources,
            "meters": {ours: {"stripe_event_name": name} for ours, name in self.meters.items()},
            # Nothing hides below a least amount.
            "policy": {"min_amount": 0},
            # Nobody pays by charge here, and Stripe grants its reads by charges.
            "stripe": {"monthly_read_budget": 10_000_000},
        }
        text = yaml.safe_dump(configuration, sort_keys=False)
        (directory / "leakage.yaml").write_text(text, encoding="utf-8")


def random_company(
    seed: int, *, leaks: bool = False, customers: int = 4, as_of: datetime = AS_OF
) -> RandomCompany:
    """The company of a seed; the same seed gives the same company."""
    code = f"{'l' if leaks else 'h'}{seed}"
    rng = random.Random(f"{code} {customers}")  # noqa: S311 - a simulation
    terms = draw_terms(rng, code, is_coarse=leaks and rng.random() < COARSE_SHARE)
    scene = Scene(rng, terms, int(as_of.timestamp()), is_leaky=leaks)
    company = RandomCompany((seed,))
    members = []
    for number in range(customers):
        member, offers = draw_member(scene, number)
        members.append(member)
        if not leaks:
            draw_changes(scene, member, offers)
            draw_second(scene, member)
        use(scene, member, offers)
        if leaks:
            life, labels = plant(scene, member, offers)
            company.labels.extend(labels)
        else:
            season(scene, member, offers)
            life = member.life()
        _add_member(company, member, life, scene.as_of)
    _add_catalogue(company, terms, members)
    return company


def merge(companies: Iterable[RandomCompany]) -> RandomCompany:
    """All companies side by side in one account and one set of files."""
    merged = RandomCompany(())
    for company in companies:
        merged.seeds += company.seeds
        merged.meters.update(company.meters)
        merged.labels.extend(company.labels)
        merged.lives.extend(company.lives)
        for name, rows in company.tables.items():
            merged.tables[name].extend(rows)
        for name, objects in vars(company.account).items():
            getattr(merged.account, name).extend(objects)
    return merged


def _add_catalogue(company: RandomCompany, terms: Terms, members: Sequence[Member]) -> None:
    account = company.account
    for log_name, meter in terms.meters:
        account.meters.append(meter_object(meter, FOUNDED))
        if log_name != meter.event_name:
            company.meters[log_name] = meter.event_name
    account.products.append(
        build.product(f"prod_{terms.code}_addon", name=f"{terms.code} add-on", created=FOUNDED)
    )
    prices: dict[str, BilledPrice] = {}
    for plan in terms.plans:
        account.products.append(
            build.product(f"prod_{plan.name}", name=plan.name.title(), created=FOUNDED)
        )
        for price in (plan.licence, *(offer.price for offer in plan.meters)):
            if price is not None:
                prices[price.price_id] = price
        company.tables["price_book"].extend(plan.list_rows)
    for member in members:
        prices.update({price.price_id: price for price in member.own_prices})
    for price in prices.values():
        (account.inline_prices if price.is_inline else account.prices).append(price_object(price))


def _add_member(company: RandomCompany, member: Member, life: Life, as_of: int) -> None:
    add_to(company.account, bill(life, as_of))
    company.lives.append(life)
    company.tables["accounts"].extend((member.account, *member.other_accounts))
    if member.contract is not None:
        company.tables["contracts"].append(contract_row(member.contract))
    company.tables["usage"].extend(_usage_row(event) for event in member.log)


def _usage_row(event: LogEvent) -> JsonObject:
    return {
        "event_id": event.event_id,
        "customer_id": event.customer_id,
        "meter": event.meter,
        "value": format(event.value, "f"),
        "occurred_at": event.at,
        "source": event.source,
    }

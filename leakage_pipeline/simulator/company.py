"""A simulated SaaS company: 13 months of subscriptions, usage and invoices, with known leaks.

`generate` is the way in; the same seed gives the same company to the byte. What customers are like
stands in `customers_profiles` and `leaks`, what they pay in `invoicing` and `pricing`.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from leakage_pipeline.simulator.catalog import build_catalog
from leakage_pipeline.simulator.company_files import (
    UsageRow,
    usage_rows,
    write_business,
    write_configuration,
    write_usage,
)
from leakage_pipeline.simulator.company_stripe import stripe_account
from leakage_pipeline.simulator.customers import Customer, World
from leakage_pipeline.simulator.customers_profiles import honest_customer
from leakage_pipeline.simulator.ground_truth import Label, covered, hold, labels
from leakage_pipeline.simulator.history import History
from leakage_pipeline.simulator.invoicing import due_invoices
from leakage_pipeline.simulator.leaks import leaky_customer
from leakage_pipeline.simulator.settling import settle
from leakage_pipeline.simulator.stripe_objects import StripeAccount
from leakage_pipeline.simulator.usage import generate_usage, stray_usage, usage_after_end

LEAKY_SHARE = 3  # every third customer has a leak
EVENTS_PER_MONTH = 30


@dataclass(frozen=True)
class Company:
    """Everything about the company; `labels` are what an audit must find, and nothing else."""

    world: World
    histories: tuple[History, ...]
    account: StripeAccount
    usage: tuple[UsageRow, ...]
    labels: tuple[Label, ...]
    covered: tuple[Label, ...] = ()
    """What approved exceptions cover: findings that there must not be, with their amounts."""
    holds: tuple[dict[str, Any], ...] = ()
    """Drafts that an audit must hold back."""

    @property
    def ground_truth(self) -> dict[str, Any]:
        """The content of ground_truth.json."""
        return {
            "seed": self.world.seed,
            "as_of": self.world.as_of.isoformat(),
            "customers": len(self.histories),
            "profiles": {h.customer.customer_id: h.customer.profile for h in self.histories},
            "labels": [label.as_row() for label in self.labels],
            "covered": [label.as_row() for label in self.covered],
            "holds": list(self.holds),
        }

    def write(self, directory: Path) -> None:
        """Write data/, leakage.yaml, stripe_account.json and ground_truth.json into `directory`."""
        data = directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        write_usage(data / "usage", self.usage)
        write_business(data, self.world, self.histories)
        write_configuration(directory / "leakage.yaml")
        self.account.to_json(directory / "stripe_account.json")
        truth = json.dumps(self.ground_truth, indent=1)
        (directory / "ground_truth.json").write_text(truth, encoding="utf-8")


def generate(
    seed: int,
    customers: int,
    as_of: datetime,
    *,
    leaks: bool = True,
    events_per_month: int = EVENTS_PER_MONTH,
) -> Company:
    """Make a company of so many customers as it stands at `as_of` (UTC when it has no offset).

    A third of the customers carry one leak each, the types in turn; three times
    as many customers as types have all of them.
    `leaks=False` leaves all the noise and no leak. `events_per_month` is per customer and meter.

    Raises:
        ValueError: For less than one customer.
    """
    return generate_side_by_side((seed,), customers, as_of, leaks=leaks, events=events_per_month)


def generate_side_by_side(
    seeds: Sequence[int],
    customers: int,
    as_of: datetime,
    *,
    leaks: bool = True,
    events: int = EVENTS_PER_MONTH,
    leaky_share: int = LEAKY_SHARE,
) -> Company:
    """Put the companies of several seeds into one: what an audit finds holds for each of them.

    Every seed draws its `customers` by itself and their ids carry it, so nothing depends on the
    neighbours; the catalog, price book and meters are the same for all. One audit then scores many
    companies. Parameters as of `generate`; one in `leaky_share` customers has a leak.

    Raises:
        ValueError: For less than one customer, no seed, or the same seed twice.
    """
    if customers < 1:
        message = f"a company needs at least one customer, not {customers}"
        raise ValueError(message)
    if not seeds or len(set(seeds)) != len(seeds):
        message = f"different seeds are needed, at least one, not {list(seeds)}"
        raise ValueError(message)
    now = as_of.replace(tzinfo=UTC) if as_of.tzinfo is None else as_of.astimezone(UTC)
    catalog = build_catalog(now)
    worlds = [World(seed, now, catalog, events) for seed in seeds]
    histories = [
        history
        for world in worlds
        for history in _histories(world, customers, leaky_share if leaks else None)
    ]
    return company_of(worlds[0], histories)


def _histories(world: World, customers: int, leaky_share: int | None) -> Iterator[History]:
    leaky = set(_leaky_indexes(world, customers, leaky_share)) if leaky_share else set()
    # Small companies of consecutive seeds take up the list where the one before left it.
    turns = {"honest": world.seed * (customers - len(leaky)), "leaky": world.seed * len(leaky)}
    for index in range(customers):
        kind = "leaky" if index in leaky else "honest"
        make: Callable[[World, int, int], Customer]
        make = leaky_customer if kind == "leaky" else honest_customer
        customer = make(world, index, turns[kind])
        yield from (live(world, each) for each in (customer, *customer.beside))
        turns[kind] += 1


def company_of(world: World, histories: list[History]) -> Company:
    """A company of customers whose histories are known: the way in for hand-made cases."""
    return Company(
        world=world,
        histories=tuple(histories),
        account=stripe_account(world, histories),
        usage=tuple(usage_rows(world, histories)),
        labels=tuple(label for history in histories for label in labels(history)),
        covered=tuple(label for history in histories for label in covered(history)),
        holds=tuple(held for history in histories if (held := hold(history)) is not None),
    )


def live(world: World, customer: Customer) -> History:
    """Let a customer live up to `as_of`: periods, usage, invoices."""
    periods = customer.periods(world.as_of)
    usage = generate_usage(world, customer, periods)
    invoices = due_invoices(customer, periods, usage, world.as_of)
    settle(customer.payment, [period.start for period in periods], invoices)
    return History(
        *(world, customer, periods, usage, invoices),
        stray=stray_usage(world, customer, periods),
        after_end=usage_after_end(world, customer),
    )


def _leaky_indexes(world: World, customers: int, share: int) -> list[int]:
    return world.rng("who leaks").sample(range(customers), customers // share)

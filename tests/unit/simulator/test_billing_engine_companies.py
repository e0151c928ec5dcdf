"""Random companies: repeatable, of every kind, in Stripe's shape, with labels worth something."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from leakage_pipeline.simulator.random_company import COLUMNS, RandomCompany, merge, random_company
from leakage_pipeline.simulator.random_company_leaks import VARIANTS
from tests.unit.simulator.stripe_spec import needs_spec, problems

SEEDS = range(60)


@pytest.fixture(scope="module")
def honest() -> RandomCompany:
    """Sixty honest companies."""
    return merge(random_company(seed) for seed in SEEDS)


@pytest.fixture(scope="module")
def leaky() -> RandomCompany:
    """Sixty leaky companies."""
    return merge(random_company(seed, leaks=True) for seed in SEEDS)


def test_the_same_seed_gives_the_same_company() -> None:
    """Down to the last row."""
    first, second = (random_company(7, leaks=True) for _ in range(2))
    assert vars(first.account) == vars(second.account)
    assert first.tables == second.tables
    assert first.labels == second.labels


def test_an_honest_company_has_no_labels(honest: RandomCompany) -> None:
    """Nothing is to be found there."""
    assert honest.labels == []


def test_every_kind_of_leak_is_planted(leaky: RandomCompany) -> None:
    """Each with an amount above nothing, at most one kind for a customer."""
    kinds = {label.leakage_type for label in leaky.labels}
    assert kinds == set(VARIANTS)
    assert all(label.amount > 0 for label in leaky.labels)
    variants = {(label.customer_id, label.variant) for label in leaky.labels}
    assert len(variants) == len({label.customer_id for label in leaky.labels})


def test_missing_usage_can_mean_overbilling(leaky: RandomCompany) -> None:
    """Under volume tiers the sign turns round, both ways."""
    turned = {
        (label.leakage_type, label.variant)
        for label in leaky.labels
        if label.variant.startswith("reported")
    }
    assert ("overbilled_usage", "reported 0 times") in turned
    assert ("unreported_usage", "reported 2 times") in turned


def test_ids_are_unique_among_companies(honest: RandomCompany, leaky: RandomCompany) -> None:
    """All of them fit into one warehouse."""
    both = merge([honest, leaky])
    for name in (
        "customers",
        "prices",
        "products",
        "invoices",
        "subscriptions",
        "meters",
        "events",
    ):
        seen = Counter(entry["id"] for entry in getattr(both.account, name))
        assert max(seen.values()) == 1, name
    lines = Counter(
        line["id"] for invoice in both.account.invoices for line in invoice["lines"]["data"]
    )
    assert max(lines.values()) == 1


def test_the_balance_runs_from_invoice_to_invoice(honest: RandomCompany) -> None:
    """What one invoice leaves of a credit is where the next one starts, but for credit notes."""
    credited = {note["customer"] for note in honest.account.credit_notes}
    by_customer: dict[str, list[dict[str, int]]] = {}
    for invoice in honest.account.invoices:
        if invoice["status"] not in {"draft", "void"} and invoice["customer"] not in credited:
            by_customer.setdefault(invoice["customer"], []).append(invoice)
    for invoices in by_customer.values():
        for earlier, later in pairwise(invoices):
            assert earlier["ending_balance"] == later["starting_balance"]


def test_the_files_have_every_column(honest: RandomCompany, tmp_path: Path) -> None:
    """One header a file, whatever the rows leave out."""
    honest.write(tmp_path)
    for name, columns in COLUMNS.items():
        header = (tmp_path / f"{name}.csv").read_text().splitlines()[0]
        assert header.split(",") == list(columns)


@needs_spec
def test_objects_have_the_shape_of_stripes_specification(honest: RandomCompany) -> None:
    """A sample of everything that a company has."""
    account = honest.account
    sample = [
        *account.subscriptions[:40],
        *account.invoices[:40],
        *account.invoice_items[:40],
        *account.credit_notes,
        *account.events[:5],
        *account.coupons[:20],
        *account.prices[:40],
    ]
    found = {entry["id"]: problems(entry) for entry in sample}
    assert {key: value for key, value in found.items() if value} == {}

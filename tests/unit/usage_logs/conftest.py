"""A warehouse with a few customers, cuts and finalised invoices, and settings for usage sources."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2.extensions
import pytest

from leakage_pipeline.settings import Settings, load_settings
from tests.unit.usage_logs.reference import World

AS_OF = datetime(2026, 6, 1, 6, tzinfo=UTC)
CUT = datetime(2026, 5, 4, 14, 23, 7, tzinfo=UTC)


@pytest.fixture
def world() -> World:
    second_cut = CUT + timedelta(hours=2, microseconds=500)
    return World(
        as_of=AS_OF,
        customers={"cus_1": "cus_1", "cus_2": "cus_2", "acc_2": "cus_2", "cus_3": "cus_3"},
        cuts={
            "cus_1": [CUT, second_cut, datetime(2026, 5, 6, tzinfo=UTC)],
            "cus_2": [CUT],
        },
        finalizations=[
            ("cus_1", "calls", CUT - timedelta(days=30), CUT, CUT + timedelta(hours=1)),
            ("cus_1", "calls", CUT, CUT + timedelta(days=30), None),
            ("cus_2", "gigabytes", CUT - timedelta(days=30), CUT, CUT + timedelta(hours=1)),
            ("cus_2", "gigabytes", CUT - timedelta(days=30), CUT, CUT + timedelta(hours=3)),
            ("cus_9", "calls", CUT - timedelta(days=30), CUT, CUT),
        ],
        meter_names={"storage": "gigabytes"},
    )


@pytest.fixture
def known(
    warehouse: psycopg2.extensions.connection, world: World
) -> psycopg2.extensions.connection:
    """The warehouse with the world in it."""
    with warehouse.cursor() as cursor:
        cursor.execute(
            """
            create table intermediate.int_periods__usage_cuts (
                customer_id text, cut_at timestamptz
            );
            create table intermediate.int_periods__usage_finalizations (
                customer_id text, stripe_event_name text, period_start timestamptz,
                period_end timestamptz, finalized_at timestamptz
            )
            """
        )
        for customer in sorted(set(world.customers.values())):
            cursor.execute(
                "insert into raw_stripe.customers (customer_id) values (%s)", (customer,)
            )
        accounts = [
            ("acc_2", "2026-01-01", "cus_2"),
            ("acc_2", "2025-01-01", "cus_1"),  # what it was before
            ("acc_2", "2026-12-01", "cus_3"),  # what it will be
            ("acc_8", "2026-01-01", "cus_unknown_to_stripe"),
            ("cus_3", "2026-01-01", "cus_1"),  # a Stripe id stands for itself
        ]
        for account in accounts:
            cursor.execute(
                "insert into raw_business.accounts (account_id, updated_at, customer_id)"
                " values (%s, %s, %s)",
                account,
            )
        for customer, cuts in world.cuts.items():
            for cut in cuts:
                cursor.execute(
                    "insert into intermediate.int_periods__usage_cuts values (%s, %s)",
                    (customer, cut),
                )
        for final in world.finalizations:
            cursor.execute(
                "insert into intermediate.int_periods__usage_finalizations"
                " values (%s, %s, %s, %s, %s)",
                final,
            )
    warehouse.commit()
    return warehouse


@pytest.fixture
def settings_for(tmp_path: Path) -> Callable[..., Settings]:
    """Build settings for usage sources, with extra environment variables."""

    def build(sources: Sequence[dict[str, Any]], **environ: str) -> Settings:
        config = {
            "sources": {"usage": list(sources)},
            "meters": {"storage": {"stripe_event_name": "gigabytes"}},
        }
        path = tmp_path / "leakage.yaml"
        path.write_text(json.dumps(config), encoding="utf-8")
        return load_settings(path, {"LEAKAGE_HOME": str(tmp_path / "home"), **environ})

    return build

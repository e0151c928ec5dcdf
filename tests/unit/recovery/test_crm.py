"""Deals: planned once per cause, made once whatever the CRM does, and without anybody's address."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import psycopg2.extensions
import pytest

from leakage_pipeline.failures import ConfigurationError
from leakage_pipeline.recovery import ledger, sending
from leakage_pipeline.recovery.crm import DEALS, Receiver, deliver, plan_deals, receiver_from
from leakage_pipeline.recovery.outcome_errors import KeyRefusedError
from leakage_pipeline.recovery.stripe_writer import StripeWriter
from leakage_pipeline.settings import Settings
from leakage_pipeline.simulator.stripe_server import StripeServer
from tests.unit.publishing import sample
from tests.unit.publishing.sample import Row, insert
from tests.unit.recovery import company
from tests.unit.recovery.company import AS_OF, END, NOW, START, policy
from tests.unit.recovery.crm_server import CrmServer, crm_server

Connection = psycopg2.extensions.connection
TOKEN = "secret-token"  # noqa: S105 - a test's


@pytest.fixture
def crm() -> Iterator[CrmServer]:
    with crm_server() as server:
        yield server


def _settings(tmp_path: Path, system: str, server: CrmServer) -> Settings:
    (tmp_path / "leakage.yaml").write_text(
        f"sources: {{}}\npolicy: {{action_mode: approve, crm: {{system: {system}, stage: '7'}}}}\n"
    )
    return sample.settings(
        tmp_path,
        HUBSPOT_ACCESS_TOKEN=TOKEN,
        HUBSPOT_API_BASE_URL=server.base_url,
        PIPEDRIVE_API_TOKEN=TOKEN,
        PIPEDRIVE_API_BASE_URL=server.base_url,
    )


def _found(conn: Connection) -> None:
    """Two periods of one outgrown plan, and something that is no matter of sales."""
    rows = [
        Row("up0", customer_id="cus_0", leakage_type="seat_leakage", period_start=START),
        Row("up1", customer_id="cus_0", leakage_type="seat_leakage", period_start=END),
        Row("fix", customer_id="cus_1", leakage_type="unreported_usage"),
    ]
    insert(conn, "marts.fct_leakage_detections", rows)
    person = {"customer_id": "cus_0", "name": "Acme & Sons", "email": "boss@acme.example"}
    insert(conn, "marts.dim_customers", [person])
    with conn, conn.cursor() as cursor:
        cursor.execute(
            "insert into ops.classifications select detection_id, 'expansion_opportunity',"
            " case detection_id when 'fix' then 'fix_metering' else 'offer_upgrade' end,"
            " 0.9, 'r', null, null, 'rules', 'h', now() from marts.fct_leakage_detections"
        )


@pytest.fixture(params=["hubspot", "pipedrive"])
def planned(
    request: pytest.FixtureRequest, ready: Connection, crm: CrmServer, tmp_path: Path
) -> Receiver:
    """One deal, planned and released, and the CRM that is to get it."""
    settings = _settings(tmp_path, request.param, crm)
    _found(ready)
    assert plan_deals(ready, settings, AS_OF) == 1
    assert plan_deals(ready, settings, AS_OF) == 1
    (action,) = ledger.read(ready)
    assert (action.detection_id, action.amount) == ("up1", Decimal("50.00"))
    ledger.release(ready, action.action_id, by="ann", at=NOW)
    receiver = receiver_from(settings)
    assert receiver is not None
    return receiver


def _send(conn: Connection, server: StripeServer, receiver: Receiver, hours: int = 0) -> list[str]:
    writer = StripeWriter(server.api_key, server.base_url)
    now = NOW + timedelta(hours=hours)
    others = dict.fromkeys(DEALS, lambda c, action, at: deliver(c, receiver, action, at))
    report = sending.run(conn, policy(audit_age_hours=168), writer, now, others)
    return [outcome for _, outcome in report.outcomes]


def test_a_deal_is_made_once_and_names_no_address(
    ready: Connection, stripe_server: StripeServer, crm: CrmServer, planned: Receiver
) -> None:
    assert _send(ready, stripe_server, planned) == ["sent"]
    assert _send(ready, stripe_server, planned) == []
    (name,) = crm.deals
    assert name.startswith("Acme & Sons: seat leakage [deal_")
    assert "boss@acme.example" not in str(crm.bodies)
    assert crm.tokens & {TOKEN, f"Bearer {TOKEN}"}
    (action,) = ledger.read(ready)
    assert (action.status, action.remote_id) == ("confirmed", "0")


def test_a_deal_whose_cause_is_gone_is_not_made_until_it_is_back(
    ready: Connection, stripe_server: StripeServer, crm: CrmServer, tmp_path: Path
) -> None:
    settings = _settings(tmp_path, "hubspot", crm)
    _found(ready)
    plan_deals(ready, settings, AS_OF)
    company.approve_all(ready)
    with ready, ready.cursor() as cursor:
        cursor.execute("update ops.classifications set next_action = 'no_action'")
    assert plan_deals(ready, settings, AS_OF) == 0
    receiver = receiver_from(settings)
    assert receiver is not None
    assert _send(ready, stripe_server, receiver) == []
    assert ("pipeline", "action_withdrawn") in company.log(ready)
    with ready, ready.cursor() as cursor:
        cursor.execute(
            "update ops.classifications set next_action = 'offer_upgrade'"
            " where detection_id != 'fix'"
        )
    assert plan_deals(ready, settings, AS_OF) == 1
    # What was released before was withdrawn with it.
    assert [(action.status, action.approved_by) for action in ledger.read(ready)] == [
        ("planned", None)
    ]
    assert crm.deals == []


def test_a_deal_planned_for_another_crm_is_withdrawn(
    ready: Connection, crm: CrmServer, tmp_path: Path
) -> None:
    _found(ready)
    plan_deals(ready, _settings(tmp_path, "hubspot", crm), AS_OF)
    plan_deals(ready, _settings(tmp_path, "pipedrive", crm), AS_OF)
    found = {action.action: action.status for action in ledger.read(ready)}
    assert found == {"hubspot_deal": "reverted", "pipedrive_deal": "planned"}


@pytest.mark.parametrize("fault", ["cut", 500])
def test_an_answer_that_is_lost_makes_no_second_deal(
    ready: Connection,
    stripe_server: StripeServer,
    crm: CrmServer,
    planned: Receiver,
    fault: int | str,
) -> None:
    crm.misbehave.append(fault)
    assert _send(ready, stripe_server, planned)[0].startswith("open: ")
    for hours in (0, 2, 2):
        _send(ready, stripe_server, planned, hours)
    assert len(crm.deals) == 1
    (action,) = ledger.read(ready)
    assert action.status == "confirmed"


def test_a_search_that_lags_is_given_time(
    ready: Connection, stripe_server: StripeServer, crm: CrmServer, planned: Receiver
) -> None:
    crm.misbehave.append(500)
    _send(ready, stripe_server, planned)
    assert _send(ready, stripe_server, planned) == ["open: the search may not know it yet"]
    assert len(crm.bodies) == 1
    assert _send(ready, stripe_server, planned, hours=2) == ["sent"]


def test_a_refusal_is_a_failure_and_a_limit_waits(
    ready: Connection, stripe_server: StripeServer, crm: CrmServer, planned: Receiver
) -> None:
    crm.misbehave.extend([429, 400])
    assert _send(ready, stripe_server, planned)[0].startswith("waits: ")
    assert _send(ready, stripe_server, planned)[0].startswith("failed: ")
    assert crm.deals == []
    assert {action.status for action in ledger.read(ready)} == {"failed"}


def test_a_token_that_is_refused_leaves_the_deal_waiting(
    ready: Connection, stripe_server: StripeServer, crm: CrmServer, planned: Receiver
) -> None:
    crm.misbehave.append(401)
    with pytest.raises(KeyRefusedError):
        _send(ready, stripe_server, planned)
    assert {action.status for action in ledger.read(ready)} == {"approved"}


def test_a_crm_without_its_token_is_bad_configuration(tmp_path: Path, crm: CrmServer) -> None:
    for system in ("hubspot", "pipedrive"):
        settings = _settings(tmp_path, system, crm)
        bare = settings.environment.model_copy(
            update={"hubspot_access_token": None, "pipedrive_api_token": None}
        )
        with pytest.raises(ConfigurationError, match=system):
            receiver_from(settings.model_copy(update={"environment": bare}))


def test_without_a_crm_nothing_is_planned(
    ready: Connection, tmp_path: Path, crm: CrmServer
) -> None:
    _found(ready)
    company.offer(ready)
    assert plan_deals(ready, _settings(tmp_path, "none", crm), AS_OF) == 0
    assert ledger.read(ready) == []

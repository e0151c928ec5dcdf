"""A night's questions go out as one batch that no crash and no lost answer makes us pay twice."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2.extensions
import pytest

from leakage_pipeline.classification import batch_store
from leakage_pipeline.classification.answers import ClassificationSummary, ModelOptions
from leakage_pipeline.classification.anthropic_request import worst_case
from leakage_pipeline.classification.cases import build_cases
from leakage_pipeline.classification.findings import read_findings, read_incidents
from leakage_pipeline.classification.run import classify, classify_one
from tests.unit.classification.anthropic_server import GOOD, Reply, Server, error, message, serve
from tests.unit.classification.test_run import answer_as_asked, stored, with_model
from tests.unit.publishing import company, sample
from tests.unit.publishing.sample import AS_OF

Connection = psycopg2.extensions.connection
NIGHT = ModelOptions(max_retries=0, batches=True, wait_seconds=0.05, poll_seconds=0.01)
QUESTIONS = 8
CUT = Reply(None, raw=b'{"custom_id": "x", "result": {"type": "succ', promised=500)


@pytest.fixture
def marts(warehouse: Connection) -> Connection:
    sample.create_marts(warehouse)
    company.fill(warehouse)
    return warehouse


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(answer_as_asked) as running:
        yield running


def night(conn: Connection, tmp_path: Path, server: Server, day: int = 0) -> ClassificationSummary:
    return classify(conn, with_model(tmp_path, server), AS_OF + timedelta(days=day), NIGHT)


def classifiers(conn: Connection) -> set[str]:
    return {row["classifier"] for row in stored(conn).values()}


def ledger(conn: Connection) -> list[tuple[Any, ...]]:
    with conn.cursor() as cursor:
        cursor.execute(
            "select status, remote_id, dollars, reserved_dollars, note"
            " from ops.classification_batches order by created_at, batch_key"
        )
        return cursor.fetchall()


def paid(conn: Connection) -> Decimal:
    with conn.cursor() as cursor:
        cursor.execute("select coalesce(sum(dollars), 0) from ops.classification_answers")
        (dollars,) = cursor.fetchone() or (Decimal(0),)
    return Decimal(dollars)


def test_one_batch_answers_the_night_at_half_price_from_an_hour_s_cache(
    marts: Connection, tmp_path: Path, server: Server
) -> None:
    summary = night(marts, tmp_path, server)
    assert (summary.calls, summary.batches_collected) == (QUESTIONS, 1)
    assert server.requests == []
    (sent,) = server.batches.values()
    assert len(sent["requests"]) == QUESTIONS
    for request in sent["requests"]:
        cached = request["params"]["system"][0]["cache_control"]
        assert cached == {"type": "ephemeral", "ttl": "1h"}
    assert classifiers(marts) == {"claude-haiku-5-5"}
    # 900 tokens at 0.05 dollars and 120 at 0.25 dollars a million.
    assert summary.dollars == paid(marts) == QUESTIONS * Decimal("0.000075")
    ((status, remote_id, dollars, reserved, _),) = ledger(marts)
    assert (status, remote_id, dollars) == ("collected", "msgbatch_0000", summary.dollars)
    assert dollars < reserved


def test_incidents_are_asked_first(marts: Connection, tmp_path: Path, server: Server) -> None:
    night(marts, tmp_path, server)
    (sent,) = server.batches.values()
    asked = [request["params"]["messages"][0]["content"] for request in sent["requests"]]
    assert ["incident_customers" in text for text in asked] == [True] * 2 + [False] * 6


def test_a_batch_that_is_not_ready_is_left_to_the_rules_and_collected_later(
    marts: Connection, tmp_path: Path, server: Server
) -> None:
    server.running = True
    first = night(marts, tmp_path, server)
    assert first.pending == QUESTIONS
    assert classifiers(marts) == {"rules"}
    assert "not there yet" in stored(marts)["usage-1-0"]["rationale"]
    again = night(marts, tmp_path, server, day=1)
    assert (again.pending, server.asked) == (QUESTIONS, QUESTIONS)
    server.running = False
    only = ModelOptions(max_retries=0, collect_only=True)
    collected = classify(marts, with_model(tmp_path, server), AS_OF + timedelta(days=2), only)
    assert collected.batches_collected == 1
    assert classifiers(marts) == {"claude-haiku-5-5"}
    assert server.asked == QUESTIONS


def test_collecting_only_asks_nothing_and_keeps_what_is_written(
    marts: Connection, tmp_path: Path, server: Server
) -> None:
    classify(marts, sample.settings(tmp_path), AS_OF)
    before = stored(marts)
    only = ModelOptions(max_retries=0, collect_only=True)
    summary = classify(marts, with_model(tmp_path, server), AS_OF, only)
    assert (server.asked, summary.written, stored(marts)) == (0, 0, before)


@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize(
    "broken",
    [
        error(500, "api_error"),
        error(529, "overloaded_error"),
        Reply(None, raw=b"<html>a proxy's page</html>"),
        Reply(None, raw=b'{"id": "msgb', promised=100),
        Reply(None, raw=b"{}"),
    ],
)
def test_a_batch_that_nobody_confirmed_is_looked_up_before_its_questions_are_asked_again(
    marts: Connection, tmp_path: Path, server: Server, broken: Reply, arrived: bool
) -> None:
    server.batch_replies, server.lose_answer = [broken], arrived
    night(marts, tmp_path, server)
    summary = night(marts, tmp_path, server, day=1)
    assert server.asked == QUESTIONS
    assert summary.over_budget == summary.unavailable == summary.pending == 0
    assert classifiers(marts) == {"claude-haiku-5-5"}
    assert paid(marts) == QUESTIONS * Decimal("0.000075")


def test_a_crash_between_sending_and_noting_pays_once(
    marts: Connection, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(batch_store, "submitted", crash)
        with pytest.raises(KeyboardInterrupt):
            night(marts, tmp_path, server)
    marts.rollback()
    assert ledger(marts)[0][:2] == ("planned", None)
    night(marts, tmp_path, server, day=1)
    assert server.asked == QUESTIONS
    assert [row[:2] for row in ledger(marts)] == [("collected", "msgbatch_0000")]


def test_a_crash_while_the_answers_are_kept_keeps_all_of_them_or_none(
    marts: Connection, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(batch_store, "collected", crash)
        with pytest.raises(KeyboardInterrupt):
            night(marts, tmp_path, server)
    marts.rollback()
    assert paid(marts) == 0
    summary = night(marts, tmp_path, server, day=1)
    assert (server.asked, summary.calls) == (QUESTIONS, QUESTIONS)


def test_another_one_s_batch_of_the_same_size_is_not_taken_for_ours(
    marts: Connection, tmp_path: Path
) -> None:
    foreign = [{"custom_id": f"theirs-{n}", "params": {}} for n in range(QUESTIONS)]
    with serve(message(GOOD)) as quiet:
        quiet.batches["msgbatch_theirs"] = {"requests": foreign}
        quiet.batch_replies = [error(500, "api_error")]
        night(marts, tmp_path, quiet)
        summary = night(marts, tmp_path, quiet, day=1)
        assert [row[0] for row in ledger(marts)] == ["failed", "collected"]
        assert summary.batches_collected == 1
        assert len(quiet.batches) == 2


def test_results_that_break_off_are_read_again_and_never_asked_again(
    marts: Connection, tmp_path: Path, server: Server
) -> None:
    line = b'{"custom_id": "a", "result": {"type": "canceled"}}\n'
    server.results_replies = [CUT, Reply(None, raw=line), error(500, "api_error")]
    for day in range(3):
        assert night(marts, tmp_path, server, day).pending in (0, QUESTIONS)
    assert server.asked == QUESTIONS
    assert classifiers(marts) == {"claude-haiku-5-5"}


def test_questions_that_failed_inside_the_batch_are_open_again_and_cost_nothing(
    marts: Connection, tmp_path: Path, server: Server
) -> None:
    server.kinds = {0: "errored", 1: "expired", 2: "canceled"}
    summary = night(marts, tmp_path, server)
    assert (summary.calls, summary.unavailable) == (QUESTIONS - 3, 3)
    assert ledger(marts)[0][4] == "1 canceled, 1 errored, 1 expired"
    assert "without an answer" in stored(marts)["usage-1-0"]["rationale"]
    server.kinds = {}
    night(marts, tmp_path, server, day=1)
    assert server.asked == QUESTIONS + 3
    assert classifiers(marts) == {"claude-haiku-5-5"}


@pytest.mark.parametrize("answer", ["no json", {**GOOD, "next_action": "revoke_access"}])
def test_a_rejected_answer_of_a_batch_is_paid_once_and_the_rules_decide(
    marts: Connection, tmp_path: Path, answer: object
) -> None:
    with serve(message(answer)) as server:
        for day in range(2):
            night(marts, tmp_path, server, day)
        assert server.asked == QUESTIONS
    row = stored(marts)["double-11"]
    assert row["classifier"] == "rules"
    assert "was rejected" in row["rationale"]


def test_an_answer_that_is_no_message_is_taken_as_paid_at_its_worst(
    marts: Connection, tmp_path: Path
) -> None:
    with serve(Reply({"unexpected": True})) as server:
        summary = night(marts, tmp_path, server)
        night(marts, tmp_path, server, day=1)
        assert server.asked == QUESTIONS
    assert summary.rejections == {"the answer could not be read": QUESTIONS}
    assert summary.dollars == ledger(marts)[0][3]


@pytest.mark.parametrize(("status", "kind"), [(401, "authentication_error"), (429, "rate_limit")])
def test_a_batch_that_is_refused_costs_nothing_and_is_sent_on_the_next_night(
    marts: Connection, tmp_path: Path, server: Server, status: int, kind: str
) -> None:
    server.batch_replies = [error(status, kind)]
    first = night(marts, tmp_path, server)
    assert first.unavailable == QUESTIONS
    assert ledger(marts)[0][0] == "failed"
    assert "sk-ant" not in str(ledger(marts))
    night(marts, tmp_path, server, day=1)
    assert (server.asked, classifiers(marts)) == (QUESTIONS, {"claude-haiku-5-5"})


def test_a_batch_holds_no_more_than_the_budget_at_its_worst(
    marts: Connection, tmp_path: Path, server: Server
) -> None:
    cases = build_cases(read_findings(marts), read_incidents(marts))
    worst = [worst_case("claude-haiku-5-5", case.prompt, batch=True) for case in cases]
    options = ModelOptions(max_retries=0, batches=True, max_dollars=sum(worst[:3], Decimal(0)))
    summary = classify(marts, with_model(tmp_path, server), AS_OF, options)
    assert server.asked == 3
    assert summary.over_budget == QUESTIONS - 3
    assert ledger(marts)[0][3] <= options.max_dollars


def test_a_batch_that_anthropic_forgot_is_asked_anew(
    marts: Connection, tmp_path: Path, server: Server
) -> None:
    server.running = True
    night(marts, tmp_path, server)
    server.running = False
    server.batches.clear()
    night(marts, tmp_path, server, day=1)
    assert [row[0] for row in ledger(marts)] == ["failed", "collected"]


def test_no_personal_data_is_in_a_batch(marts: Connection, tmp_path: Path, server: Server) -> None:
    night(marts, tmp_path, server)
    for text in (*company.NAMES, "@example.com", "cus_Sample", "sub_Sample", "A-77", "sk-ant"):
        assert text not in server.sent


def test_a_person_who_waits_is_answered_at_once_and_pays_for_nothing_twice(
    marts: Connection, tmp_path: Path, server: Server
) -> None:
    settings = with_model(tmp_path, server)
    for _ in range(2):
        summary = classify_one(marts, settings, AS_OF, "usage-1-0", NIGHT)
        assert summary.by_model == summary.findings > 1  # all that share the incident
    assert len(server.requests) == 1
    assert night(marts, tmp_path, server).answers_reused == 1
    assert server.asked == QUESTIONS


def test_a_question_that_a_batch_holds_is_not_asked_a_second_time(
    marts: Connection, tmp_path: Path, server: Server
) -> None:
    server.running = True
    night(marts, tmp_path, server)
    summary = classify_one(marts, with_model(tmp_path, server), AS_OF, "usage-1-0", NIGHT)
    assert (summary.pending, server.requests) == (1, [])

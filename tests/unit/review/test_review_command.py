"""`leakage review` as a person types it, on a warehouse of its own."""

from collections.abc import Callable
from pathlib import Path

import psycopg2.extensions
import pytest
from click.testing import CliRunner, Result

from leakage_pipeline.cli import leakage
from tests.unit.publishing import company, sample

Connection = psycopg2.extensions.connection
Type = Callable[..., Result]


@pytest.fixture
def run(
    warehouse: Connection, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Type:
    sample.create_marts(warehouse)
    company.fill(warehouse)
    settings = sample.settings(tmp_path)
    monkeypatch.setenv("LEAKAGE_CONFIG", str(settings.config_path))
    monkeypatch.setenv("LEAKAGE_HOME", str(settings.home))
    monkeypatch.setenv("LEAKAGE_DATABASE_URL", database_url)
    monkeypatch.setenv("LEAKAGE_USER", "jane")

    def type_in(*arguments: str) -> Result:
        return CliRunner().invoke(leakage, ["review", *arguments])

    return type_in


def ids(result: Result) -> list[str]:
    lines = result.output.splitlines()
    return [line.split(",")[0].lstrip("\ufeff") for line in lines[1:]]


def test_the_queue_is_ordered_by_expected_recovery_and_shrinks(run: Type) -> None:
    listed = ids(run("list", "--csv", "--limit", "1000"))
    assert len(listed) == len(company.findings())
    ranked = {f.detection_id: f.priority_score for f in company.findings()}
    assert [ranked[i] for i in listed] == sorted(ranked.values(), reverse=True)
    done = run("dismiss", listed[0], "--reason", "a partner")
    assert "new -> dismissed" in done.output
    assert listed[0] not in ids(run("list", "--csv", "--limit", "1000"))
    assert ids(run("list", "--csv", "--status", "dismissed")) == [listed[0]]


def test_a_finding_shows_who_decided_what(run: Type) -> None:
    (first, *_) = ids(run("list", "--csv", "--limit", "1"))
    run("assign", first, "--to", "kim")
    run("note", first, "[bold]asked[/bold] them")
    shown = run("show", first).output
    assert "jane review_assigned, status investigating" in shown
    assert "[bold]asked[/bold] them" in shown


def test_several_are_approved_at_once_and_taken_back(run: Type) -> None:
    listed = ids(run("list", "--csv", "--limit", "2"))
    assert run("approve", *listed).output.count("new -> approved") == len(listed)
    assert run("undo", *listed).output.count("approved -> new") == len(listed)


def test_filters_narrow_the_queue(run: Type) -> None:
    for finding in company.findings()[:3]:
        found = ids(run("list", "--csv", "--type", finding.leakage_type, "--limit", "1000"))
        assert finding.detection_id in found
    assert run("list", "--customer", "cus_nobody").output == "Nothing to review.\n"


@pytest.mark.parametrize(
    ("wanted", "said"), [("zzzz", "no present finding begins"), ("'; drop", "is no finding's id")]
)
def test_an_unknown_id_is_a_clear_error(run: Type, wanted: str, said: str) -> None:
    result = run("show", wanted)
    assert result.exit_code != 0
    assert said in str(result.exception)

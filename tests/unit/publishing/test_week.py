"""ISO weeks, at the turn of a year too."""

from datetime import UTC, datetime

import pytest

from leakage_pipeline.failures import ConfigurationError
from leakage_pipeline.publishing.week import monday_of, report_week
from tests.unit.publishing.sample import AS_OF


def test_the_week_of_the_run_is_the_default() -> None:
    week = report_week(AS_OF)
    assert week.label == "2026-W47"
    assert week.start == datetime(2026, 11, 16, tzinfo=UTC)
    assert week.end == datetime(2026, 11, 23, tzinfo=UTC)
    assert len(week.mondays) == 12
    assert week.window_start == datetime(2026, 8, 31, tzinfo=UTC)


def test_a_week_can_be_named_across_the_turn_of_the_year() -> None:
    week = report_week(AS_OF, "2026-W01")
    assert week.start == datetime(2025, 12, 29, tzinfo=UTC)
    assert monday_of(datetime(2026, 1, 4, 23, 59, 59, tzinfo=UTC)) == week.monday


@pytest.mark.parametrize("text", ["2026-47", "W47", "2026-W54", "2026-W00", "next", "2026-W99"])
def test_anything_else_is_a_configuration_error_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError, match="2026-W47"):
        report_week(AS_OF, text)


def test_a_week_that_has_not_begun_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="has not begun"):
        report_week(AS_OF, "2026-W48")

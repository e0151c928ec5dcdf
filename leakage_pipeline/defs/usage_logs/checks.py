"""Checks of the usage log: nearly all rows could be read, and the log itself was never silent.

Both warn: the windows that there are remain right, and what is missing is told in the report.
"""

from collections.abc import Sequence

import dagster as dg

from leakage_pipeline.usage_logs.meaning import UsageLoadResult
from leakage_pipeline.usage_logs.outages import SilentDay

# More than this share of unreadable rows is worth a look: a producer may have changed its format.
MOST_REJECTED = 0.01
_WINDOWS = dg.AssetKey(["raw_usage", "usage_windows"])
_COVERAGE = dg.AssetKey(["raw_usage", "log_coverage"])
_REJECTED = "few_rows_rejected"
_SILENT = "no_silent_day"
_DAYS_NAMED = 10
SPECS = [
    dg.AssetCheckSpec(
        _REJECTED, asset=_WINDOWS, description="Less than 1 % of the rows cannot be read"
    ),
    dg.AssetCheckSpec(
        _SILENT, asset=_COVERAGE, description="No day is without events of a daily meter"
    ),
]


def few_rows_rejected(result: UsageLoadResult) -> dg.AssetCheckResult:
    """Warn when too large a share of the rows could not be read."""
    share = result.unreadable_share
    return dg.AssetCheckResult(
        asset_key=_WINDOWS,
        check_name=_REJECTED,
        passed=share < MOST_REJECTED,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{result.unreadable} rows of the usage log ({share:.1%}) could not be read",
        metadata={"rejected_rows": result.unreadable, "rejected_share": share},
    )


def no_silent_day(silent: Sequence[SilentDay]) -> dg.AssetCheckResult:
    """Warn of days without any event of a meter that nearly always has some."""
    named = ", ".join(map(str, silent[:_DAYS_NAMED]))
    more = f" and {len(silent) - _DAYS_NAMED} more" if len(silent) > _DAYS_NAMED else ""
    return dg.AssetCheckResult(
        asset_key=_COVERAGE,
        check_name=_SILENT,
        passed=not silent,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"The usage log was silent: {named}{more}" if silent else None,
        metadata={"silent_days": len(silent)},
    )

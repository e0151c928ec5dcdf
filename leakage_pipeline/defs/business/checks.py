"""The check of every business source: nearly all of its rows could be read. It warns."""

import dagster as dg

from leakage_pipeline.business.load import LoadResult

# More than this share of unreadable rows is worth a look: a column may have changed its meaning.
MOST_REJECTED = 0.01
_NAME = "few_rows_rejected"


def spec(key: dg.AssetKey) -> dg.AssetCheckSpec:
    """The check of one table."""
    return dg.AssetCheckSpec(
        _NAME, asset=key, description="Less than 1 % of the rows cannot be read"
    )


def few_rows_rejected(key: dg.AssetKey, result: LoadResult) -> dg.AssetCheckResult:
    """Warn when too large a share of the rows could not be read."""
    rejected = sum(result.rejected.values())
    share = result.rejected_share
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=_NAME,
        passed=share < MOST_REJECTED,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{rejected} of {result.read} rows ({share:.1%}) could not be read",
        metadata={"rejected_rows": rejected, "rejected_share": share},
    )

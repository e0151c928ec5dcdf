"""Findings with a category and a next action, as an asset.

Model and budget are the run's configuration; the key comes from the environment. Without a key the
rules classify everything and every row says so.
"""

from decimal import Decimal

import dagster as dg
from pydantic import Field

from leakage_pipeline.classification.anthropic_classifier import (
    DEFAULT_MAX_CALLS,
    DEFAULT_MAX_DOLLARS,
    DEFAULT_MODEL,
)
from leakage_pipeline.classification.run import ModelOptions, classify
from leakage_pipeline.defs.resources import AuditRun, SettingsResource, WarehouseResource

_MODEL_VARIABLE = "ANTHROPIC_MODEL"


class ClassificationConfig(dg.Config):
    """What a run may spend on the model."""

    model: str | None = Field(
        default=None, description=f"Model id; default {_MODEL_VARIABLE}, else {DEFAULT_MODEL}"
    )
    max_calls: int = Field(default=DEFAULT_MAX_CALLS, ge=0, description="Calls of one run")
    max_dollars: str = Field(
        default=str(DEFAULT_MAX_DOLLARS),
        pattern=r"^\d+(\.\d+)?$",
        description="US dollars of one run, never exceeded",
    )


@dg.asset(
    key=["ops", "classifications"],
    deps=[
        dg.AssetKey(["marts", name])
        for name in ("fct_leakage_detections", "fct_incidents", "dim_customers")
    ],
    group_name="classification",
    kinds={"python", "postgres"},
    pool="warehouse",
)
def classifications(
    context: dg.AssetExecutionContext,
    config: ClassificationConfig,
    settings: SettingsResource,
    warehouse: WarehouseResource,
    audit_run: AuditRun,
) -> dg.MaterializeResult[None]:
    """One row per finding: category, next action, confidence, rationale, draft message.

    Rows are replaced by detection id. A question that was answered before is never paid for again:
    answers are kept by the hash of the question in `ops.classification_answers`.
    """
    loaded = settings.get()
    options = ModelOptions(
        model=config.model or loaded.environment.variables.get(_MODEL_VARIABLE) or DEFAULT_MODEL,
        max_calls=config.max_calls,
        max_dollars=Decimal(config.max_dollars),
    )
    with warehouse.connect() as conn:
        summary = classify(conn, loaded, audit_run.as_of_for(context), options)
    if summary.note:
        context.log.info(summary.note)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": summary.findings,
            "classifier": summary.classifier,
            "by_model": summary.by_model,
            "by_rules": summary.by_rules,
            "changed": summary.written,
            "answers_reused": summary.answers_reused,
            "model_calls": summary.calls,
            "dollars": str(summary.dollars),
            "cases_rejected": summary.rejected,
            "cases_without_answer": summary.unavailable + summary.over_budget,
            "rejections": dg.MetadataValue.json(summary.rejections),
            "note": summary.note,
        }
    )

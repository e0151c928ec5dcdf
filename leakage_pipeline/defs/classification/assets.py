"""Findings with a category and a next action, as an asset.

Model and budget are the run's configuration; the key comes from the environment. Without a key the
rules classify everything and every row says so.
"""

from dataclasses import replace
from decimal import Decimal

import dagster as dg
from pydantic import Field

from leakage_pipeline.classification.answers import MODEL_VARIABLE, ModelOptions, model_options
from leakage_pipeline.classification.anthropic_classifier import DEFAULT_MODEL
from leakage_pipeline.classification.run import classify
from leakage_pipeline.defs.resources import AuditRun, SettingsResource, WarehouseResource
from leakage_pipeline.settings import Settings


class ClassificationConfig(dg.Config):
    """What a run may spend on the model; what is not given here says `policy.classifier`."""

    model: str | None = Field(
        default=None, description=f"Model id; default {MODEL_VARIABLE}, else {DEFAULT_MODEL}"
    )
    max_calls: int | None = Field(default=None, ge=0, description="Requests of one run")
    max_dollars: str | None = Field(
        default=None,
        pattern=r"^\d+(\.\d+)?$",
        description="US dollars of one run, never exceeded",
    )
    collect_only: bool = Field(
        default=False, description="Ask nothing; take in what earlier batches answered"
    )


def options_of(settings: Settings, config: ClassificationConfig) -> ModelOptions:
    """How this run asks the model: as the policy says, unless the run says otherwise."""
    options = model_options(settings)
    return replace(
        options,
        model=config.model or options.model,
        max_calls=options.max_calls if config.max_calls is None else config.max_calls,
        max_dollars=Decimal(config.max_dollars) if config.max_dollars else options.max_dollars,
        collect_only=config.collect_only,
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

    Questions go out as one Message Batch (`policy.classifier.batches`); what it has not answered
    in time the rules decide, and a later run takes the answers in. Rows are replaced by detection
    id. A question that was answered before is never paid for again:
    answers are kept by the hash of the question in `ops.classification_answers`.
    """
    loaded = settings.get()
    options = options_of(loaded, config)
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
            "batches_collected": summary.batches_collected,
            "dollars": str(summary.dollars),
            "cases_rejected": summary.rejected,
            "cases_without_answer": summary.unavailable + summary.over_budget,
            "cases_in_a_batch": summary.pending,
            "rejections": dg.MetadataValue.json(summary.rejections),
            "note": summary.note,
        }
    )

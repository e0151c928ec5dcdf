"""`leakage review classify` and `leakage evaluate-classifier`: a person asks the classifier."""

from dataclasses import replace
from decimal import Decimal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from leakage_pipeline.classification import evaluation
from leakage_pipeline.classification.answers import MODEL_VARIABLE, model_options
from leakage_pipeline.classification.anthropic_classifier import DEFAULT_MODEL, AnthropicClassifier
from leakage_pipeline.classification.evaluation import Score
from leakage_pipeline.classification.run import classify_one
from leakage_pipeline.commands.report import newest_audit
from leakage_pipeline.commands.review import opened
from leakage_pipeline.failures import ConfigurationError, PermanentFailure
from leakage_pipeline.review import queue
from leakage_pipeline.settings import Settings, environment_from, load_environment

# A person is not kept waiting for a quarter of a minute.
_RETRIES = 2


def classify_finding(settings: Settings, wanted: str, console: Console) -> None:
    """Ask about one finding at once and print what was decided.

    Args:
        settings: The configuration; without a key the rules decide.
        wanted: The finding's id or the beginning of it.
        console: Where the answer goes.

    Raises:
        PermanentFailure: No finding, or several, have an id that begins so.
    """
    options = replace(model_options(settings), max_retries=_RETRIES)
    with opened(settings) as connection:
        detection_id = queue.find(connection, wanted)["detection_id"]
        as_of = newest_audit(connection)
        summary = classify_one(connection, settings, as_of, detection_id, options)
        row = queue.find(connection, detection_id)
    lines = [
        f"{row['category']}, {row['next_action']} ({row['classifier']})",
        str(row["rationale"]),
        f"{summary.findings} findings decided, ${summary.dollars.normalize():f} paid.",
    ]
    for line in lines:
        console.print(Text(line), highlight=False, soft_wrap=True)


def evaluate(classifier: str, at_least: Decimal, max_dollars: Decimal, console: Console) -> None:
    """Score a classifier on the labelled findings and print where it differs from the labels.

    Args:
        classifier: `rules`, `anthropic`, or `all`.
        at_least: The share of right actions below which the command fails.
        max_dollars: What asking the model may cost.
        console: Where the table goes.

    Raises:
        ConfigurationError: The model is wanted and ANTHROPIC_API_KEY is not set.
        PermanentFailure: A score is too low, or the model did not answer.
    """
    cases = evaluation.load_cases()
    scores: list[Score] = []
    if classifier in {"rules", "all"}:
        scores.append(evaluation.score_rules(cases))
    if classifier in {"anthropic", "all"}:
        model = _model(max_dollars)
        try:
            scores.append(evaluation.score_model(cases, model))
        finally:
            model.close()
    console.print(_table(scores))
    for score in scores:
        for miss in score.misses:
            console.print(Text(f"  {score.classifier}: {miss}"), highlight=False, soft_wrap=True)
    low = [score.classifier for score in scores if score.action_share < at_least]
    if low:
        message = f"right actions below {at_least:%}: {', '.join(low)}"
        raise PermanentFailure(message)


def _model(max_dollars: Decimal) -> AnthropicClassifier:
    variables = load_environment()
    environment = environment_from(variables)
    if environment.anthropic_api_key is None:
        message = "environment: ANTHROPIC_API_KEY is not set; --classifier rules needs none"
        raise ConfigurationError(message)
    return AnthropicClassifier(
        environment.anthropic_api_key,
        base_url=environment.anthropic_base_url,
        model=variables.get(MODEL_VARIABLE) or DEFAULT_MODEL,
        max_calls=2**31,
        max_dollars=max_dollars,
    )


def _table(scores: list[Score]) -> Table:
    table = Table(title=f"{scores[0].cases} labelled findings", title_justify="left")
    table.add_column("classifier")
    for name in ("action", "category", "rejected", "no answer", "calibration", "dollars"):
        table.add_column(name, justify="right")
    for score in scores:
        table.add_row(
            score.classifier,
            f"{score.action_share:.1%}",
            f"{score.category_share:.1%}",
            str(score.rejected),
            str(score.unanswered),
            f"{score.calibration_error:.3f}",
            f"{score.dollars.normalize():f}",
        )
    return table

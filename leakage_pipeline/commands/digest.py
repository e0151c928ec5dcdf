"""`leakage digest`: the day's Slack digest of the newest audit, for those who run it from cron."""

from dataclasses import replace
from datetime import datetime

from rich.console import Console
from rich.text import Text

from leakage_pipeline.classification.answers import model_options
from leakage_pipeline.classification.run import classify
from leakage_pipeline.commands.execution import failed_checks
from leakage_pipeline.commands.review import opened
from leakage_pipeline.publishing.digest import publish_digest
from leakage_pipeline.settings import Settings


def digest(settings: Settings, as_of: datetime, console: Console) -> None:
    """Take in what the classifier answered since the audit, then tell Slack, once a day.

    Args:
        settings: The configuration; without a token the digest is a file.
        as_of: The instant that the digest is told at.
        console: Where the outcome goes.

    Raises:
        PermanentFailure: No audit has run yet, or Slack refused it.
        TransientFailure: Slack could not be reached, or did not confirm.
    """
    with opened(settings) as connection:
        if settings.environment.anthropic_api_key is not None:
            options = replace(model_options(settings), collect_only=True)
            classify(connection, settings, as_of, options)
        result = publish_digest(connection, settings, as_of, failed_checks(settings.home))
    for line in (f"{result.channel}: {result.note}", str(result.text_path)):
        console.print(Text(line), highlight=False, soft_wrap=True)

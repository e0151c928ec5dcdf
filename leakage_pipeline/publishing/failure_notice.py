"""One short Slack message when a run fails; everything else about Slack is in `slack_sender.py`.

Does not use the ledger: the database may be the very thing that failed.
"""

from slack_sdk import WebClient
from slack_sdk.errors import SlackClientError

from leakage_pipeline.publishing.slack_sender import FOREIGN_ANSWER
from leakage_pipeline.settings import Environment

_TIMEOUT_SECONDS = 30
_LONGEST_TEXT = 2000


def post_failure(
    environment: Environment, channel: str, job: str, run_id: str, reason: str
) -> bool:
    """Say in the channel that a run failed.

    Args:
        environment: Token and address.
        channel: Where to.
        job: Name of the job.
        run_id: Dagster's id of the run.
        reason: The failure's own message, which never holds a secret.

    Returns:
        False when there is no token or Slack did not take the message; a failed notice must not
        hide the failure it is about.
    """
    token = environment.slack_bot_token
    if token is None:
        return False
    client = WebClient(
        token=token.get_secret_value(),
        base_url=environment.slack_api_base_url or WebClient.BASE_URL,
        timeout=_TIMEOUT_SECONDS,
    )
    text = f"{job} failed, nothing was published: {reason} (run {run_id})"
    try:
        client.chat_postMessage(channel=channel, text=text[:_LONGEST_TEXT], mrkdwn=False)
    except (SlackClientError, OSError, *FOREIGN_ANSWER):
        return False
    return True

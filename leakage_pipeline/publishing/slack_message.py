"""A Slack message: Block Kit within Slack's limits, with text from outside that stays text.

Pure. What messages say is in `digest_message`, sending in `slack_sender`.
"""

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

# Slack refuses a section over 3,000 characters, a header over 150 and more than 50 blocks.
_MAX_SECTION = 2900
_MAX_BLOCKS = 50


@dataclass(frozen=True)
class SlackMessage:
    """What `chat.postMessage` gets, without the channel."""

    text: str
    blocks: list[dict[str, Any]]

    def as_json(self, channel: str, metadata: dict[str, Any]) -> str:
        """The request body, as it would be posted."""
        body = {
            "channel": channel,
            "text": self.text,
            "blocks": self.blocks,
            "metadata": metadata,
            "unfurl_links": False,
            "unfurl_media": False,
        }
        return json.dumps(body, indent=2, ensure_ascii=False) + "\n"

    def for_test(self, meant_for: str) -> "SlackMessage":
        """The same message with a line that says which channel it was meant for."""
        told = context(f"Test mode: meant for {escape(meant_for)}.")
        return replace(self, blocks=[*self.blocks[: _MAX_BLOCKS - 1], told])

    def as_text(self) -> str:
        """The message as plain text, as a person would read it."""
        parts = [_plain(block) for block in self.blocks]
        return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """Make text from outside safe in mrkdwn: no mention, link or command can come out of it."""
    line = " ".join(text.split())
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def context(text: str) -> dict[str, Any]:
    """A small line at the end."""
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text}]}


def header(text: str) -> dict[str, Any]:
    """The title."""
    return {"type": "header", "text": {"type": "plain_text", "text": text, "emoji": False}}


def section(text: str) -> dict[str, Any]:
    """A paragraph of mrkdwn, cut where Slack would refuse it."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": _fit(text), "verbatim": True}}


def _fit(text: str) -> str:
    """Cut at a line's end, so that no escaped character is cut in two."""
    if len(text) <= _MAX_SECTION:
        return text
    kept: list[str] = []
    size = 0
    for line in text.split("\n"):
        size += len(line) + 1
        if size > _MAX_SECTION:
            break
        kept.append(line)
    return "\n".join([*kept, "\N{HORIZONTAL ELLIPSIS}"])


def short(text: str, limit: int) -> str:
    """One line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"


def within_limits(blocks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most as many blocks as Slack takes; the last one, which dates the message, stays."""
    return list(blocks) if len(blocks) <= _MAX_BLOCKS else [*blocks[: _MAX_BLOCKS - 1], blocks[-1]]


def _plain(block: dict[str, Any]) -> str:
    if block["type"] == "context":
        text = " ".join(element["text"] for element in block["elements"])
    else:
        text = block.get("text", {}).get("text", "")
    return html.unescape(str(text).replace("*", ""))

"""Messages to customers keep the tone rules; a company's own replace ours; names stay text."""

import re
from decimal import Decimal
from pathlib import Path

import pytest

from leakage_pipeline.classification.drafts import (
    evidence_values,
    fill,
    messages_of,
    placeholder_values,
    write_message,
)
from leakage_pipeline.classification.schema import MESSAGE_ACTIONS, NextAction
from leakage_pipeline.classification.validation import forbidden_in_draft
from leakage_pipeline.communication.messages import Message, Messages
from leakage_pipeline.failures import ConfigurationError
from tests.unit.classification.examples import finding
from tests.unit.publishing import sample

OURS = Path(__file__).parents[3] / "leakage_pipeline" / "communication" / "templates"


def write(messages: Messages, action: str = "invoice_difference", **changes: object) -> Message:
    message = write_message(messages, action, finding(**changes), "Acme Cloud")
    assert message is not None
    return message


def test_every_message_action_has_a_template_and_no_other_file_stands_there() -> None:
    files = {path.name.removesuffix(".txt.j2") for path in OURS.glob("*.txt.j2")}
    assert files - {"_closing"} == {action.value for action in MESSAGE_ACTIONS}


@pytest.mark.parametrize("action", sorted(MESSAGE_ACTIONS))
def test_our_own_texts_pass_the_checks_that_a_model_s_drafts_have_to_pass(
    action: NextAction,
) -> None:
    source = (OURS / f"{action.value}.txt.j2").read_text(encoding="utf-8")
    assert forbidden_in_draft(re.sub(r"\{[{%].*?[%}]\}", "", source)) is None
    message = write(Messages(MESSAGE_ACTIONS), action)
    assert message.body.startswith("Hello Kestrel Logistics,")
    assert message.body.endswith("Kind regards\nAcme Cloud")
    assert "reply to this message" in message.body


def test_a_message_is_filled_from_the_finding_alone() -> None:
    body = write(Messages(MESSAGE_ACTIONS), currency="jpy").body
    assert "¥4,000" in body
    assert "1 Oct \N{EN DASH} 31 Oct 2026" in body
    assert "{" not in body


def test_an_internal_action_has_no_message() -> None:
    messages = Messages(MESSAGE_ACTIONS)
    assert write_message(messages, "fix_metering", finding(), "Acme") is None


def test_a_name_is_never_read_as_a_template_or_a_header() -> None:
    name = "{{ 7 * 7 }}{% raw %}\nBcc: everyone@example.com"
    message = write(Messages(MESSAGE_ACTIONS), "offer_upgrade", customer_name=name, plan=name)
    assert "Hello {{ 7 * 7 }}{% raw %} Bcc: everyone@example.com," in message.body
    assert "\n" not in message.subject


def test_a_name_in_a_model_s_draft_stays_text_too() -> None:
    values = placeholder_values(finding(customer_name="{amount}\nBcc: x@example.com"), "Acme")
    assert fill("Hello {customer_name}", values) == "Hello {amount} Bcc: x@example.com"


def test_a_company_replaces_what_it_wants_and_keeps_the_rest(tmp_path: Path) -> None:
    folder = tmp_path / "messages"
    folder.mkdir()
    (folder / "_closing.txt.j2").write_text("Yours, {{ company }}", "utf-8")
    (folder / "offer_upgrade.txt.j2").write_text(
        "Subject: More room\n\nDear {{ customer_name }}, you used {{ evidence.expected_quantity }}"
        "{% if evidence.nothing is defined %} never{% endif %}.",
        "utf-8",
    )
    (tmp_path / "leakage.yaml").write_text(
        "sources: {}\npolicy: {templates: messages}\n", encoding="utf-8"
    )
    messages = messages_of(sample.settings(tmp_path))
    own = write(messages, "offer_upgrade")
    assert own == Message("More room", "Dear Kestrel Logistics, you used 500,000.")
    assert write(messages, "credit_customer").body.endswith("Yours, Acme Cloud")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("offer_upgrade", "Subject: x\n\n{{ customer }}", "there is no variable customer; known"),
        ("offer_upgrade", "Subject: x\n\n{% if %}", "line 3"),
        ("offer_upgrade", "Hello", "the first line must be Subject:"),
        ("_closing", "{{ phone }}", "there is no variable phone"),
        ("offer_upgrad", "Subject: x\n\ny", "did you mean offer_upgrade.txt.j2?"),
    ],
)
def test_a_mistake_in_a_template_is_found_before_anything_is_written(
    tmp_path: Path, name: str, text: str, says: str
) -> None:
    (tmp_path / f"{name}.txt.j2").write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        Messages(MESSAGE_ACTIONS, tmp_path)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no folder"):
        Messages(MESSAGE_ACTIONS, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ evidence.seats }}", "has no attribute 'seats'"),
        ("{{ company.__class__.__mro__ }}", "unsafe"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("", "empty"),
    ],
)
def test_what_a_template_cannot_do_with_a_finding_names_the_file(
    tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "offer_upgrade.txt.j2").write_text(f"Subject: x\n\n{text}", "utf-8")
    messages = Messages(MESSAGE_ACTIONS, tmp_path)
    with pytest.raises(ConfigurationError, match=r"offer_upgrade\.txt\.j2.*" + says):
        write(messages, "offer_upgrade")


def test_a_part_that_is_html_escapes_what_comes_from_outside(tmp_path: Path) -> None:
    (tmp_path / "_card.html.j2").write_text("<b>{{ customer_name }}</b>", "utf-8")
    (tmp_path / "offer_upgrade.txt.j2").write_text(
        'Subject: x\n\n{% include "_card.html.j2" %}', "utf-8"
    )
    body = write(Messages(MESSAGE_ACTIONS, tmp_path), "offer_upgrade", customer_name="<i>").body
    assert body == "<b>&lt;i&gt;</b>"


def test_evidence_is_written_with_its_currency() -> None:
    example = finding(evidence={"gap_amount": Decimal("12.5"), "seats": 14, "charges": [1]})
    assert evidence_values(example) == {"gap_amount": "$12.50", "seats": "14"}

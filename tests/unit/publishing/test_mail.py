"""The weekly mail: sent once, whatever the mail server does; nothing but the report leaves."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2.extensions
import pytest

from leakage_pipeline.commands.report import mail_report
from leakage_pipeline.failures import ConfigurationError, PermanentFailure, TransientFailure
from leakage_pipeline.publishing.mail import MailResult, send_mail_once
from leakage_pipeline.publishing.report import ReportFiles, build_report
from tests.unit.publishing import mail_server, sample
from tests.unit.publishing.mail_server import MailServer
from tests.unit.publishing.sample import AS_OF

Connection = psycopg2.extensions.connection
Send = Callable[..., MailResult]
KEY = "weekly/2026-W47"


@pytest.fixture
def server() -> Iterator[MailServer]:
    with mail_server.serve() as running:
        yield running


@pytest.fixture(scope="module")
def built() -> list[ReportFiles]:
    """The sample company's report once it is built: here it is only sent."""
    return []


@pytest.fixture
def send(filled: Connection, built: list[ReportFiles], tmp_path: Path) -> Send:
    """Mail the report with these variables, to the server of this URL."""
    if not built:
        built.append(build_report(filled, sample.settings(tmp_path), AS_OF))
    (report,) = built

    def run(url: str | None, **variables: str) -> MailResult:
        environ = {
            **({"SMTP_URL": url} if url else {}),
            "REPORT_RECIPIENTS": "finance@acme.example, Kim <kim@acme.example>",
            **variables,
        }
        settings = sample.settings(tmp_path, **environ)
        return send_mail_once(filled, settings, AS_OF, KEY, report.mail, (report.html, report.csv))

    return run


def test_the_mail_holds_the_summary_the_charts_and_both_files(
    send: Send, server: MailServer
) -> None:
    assert send(server.url).sent
    (mail,) = server.mails
    assert server.recipients == ["finance@acme.example", "kim@acme.example"]
    assert mail["Subject"] == "Acme Cloud: recovery report 2026-W47"
    assert mail["From"] == "leakage@acme.example"
    assert mail["Date"] == "Fri, 20 Nov 2026 06:00:00 +0000"
    names = [part.get_filename() for part in mail.iter_attachments()]
    assert names == ["weekly_recovery_2026-W47.html", "weekly_recovery_2026-W47.csv"]
    page = mail.get_body(("html",))
    text = mail.get_body(("plain",))
    assert page is not None
    assert text is not None
    assert "Weekly recovery report" in page.get_content()
    pictures = {p["Content-ID"] for p in mail.walk() if p.get_content_maintype() == "image"}
    assert pictures == {"<bridge-usd>", "<bridge-eur>", "<bridge-jpy>"}
    assert all(f"cid:{name.strip('<>')}" in page.get_content() for name in pictures)
    assert "secret" not in mail.as_string()


def test_a_repeated_run_sends_nothing_more(send: Send, server: MailServer) -> None:
    assert [send(server.url).sent for _ in range(3)] == [True, False, False]
    assert len(server.mails) == 1


def test_the_command_mails_what_the_schedule_would_and_not_again(
    filled: Connection, database_url: str, server: MailServer, tmp_path: Path
) -> None:
    settings = sample.settings(
        tmp_path,
        LEAKAGE_DATABASE_URL=database_url,
        SMTP_URL=server.url,
        REPORT_RECIPIENTS="cfo@acme.example",
    )
    files = build_report(filled, settings, AS_OF, None, tmp_path)
    filled.commit()
    assert [mail_report(settings, files) for _ in range(2)] == ["sent", "already sent"]
    (mail,) = server.mails
    attached = {part.get_filename() for part in mail.iter_attachments()}
    assert attached == {"weekly_recovery_2026-W47.html", "weekly_recovery_2026-W47.csv"}


def test_a_lost_confirmation_is_never_answered_with_a_second_mail(
    send: Send, server: MailServer
) -> None:
    server.answers["BODY"] = "cut"
    with pytest.raises(TransientFailure, match="may have arrived"):
        send(server.url)
    server.answers.clear()
    for _ in range(2):
        with pytest.raises(TransientFailure, match="never confirmed"):
            send(server.url)
    assert len(server.mails) == 1


@pytest.mark.parametrize(
    ("command", "answer", "said"),
    [
        ("AUTH", "535 no", "user or password"),
        ("MAIL", "550 no", "the sender"),
        ("RCPT", "550 no", "every recipient"),
        ("DATA", "554 no", "refused the mail"),
        ("BODY", "554 spam", "refused the mail"),
    ],
)
def test_a_refused_mail_is_a_clear_failure_and_may_be_sent_once_mended(
    send: Send, server: MailServer, command: str, answer: str, said: str
) -> None:
    server.answers[command] = answer
    with pytest.raises(PermanentFailure, match=said):
        send(server.url)
    server.answers.clear()
    server.mails.clear()
    assert send(server.url).sent
    assert len(server.mails) == 1


@pytest.mark.parametrize(
    ("command", "answer"),
    [("MAIL", "451 later"), ("RCPT", "450 greylisted"), ("MAIL", "cut"), ("RCPT", "cut")],
)
def test_what_broke_before_the_content_was_sent_goes_out_later_and_once(
    send: Send, server: MailServer, command: str, answer: str
) -> None:
    server.answers[command] = answer
    with pytest.raises(TransientFailure, match=r"put .* off|broke off before"):
        send(server.url)
    assert server.mails == []
    server.answers.clear()
    assert [send(server.url).sent for _ in range(2)] == [True, False]
    assert len(server.mails) == 1


@pytest.mark.parametrize("url", [None, "smtp://a%40b:c@127.0.0.1:9"])
def test_without_a_server_nothing_is_lost(send: Send, server: MailServer, url: str | None) -> None:
    if url is None:
        assert send(None).note == "No SMTP_URL: not mailed."
    else:
        with pytest.raises(TransientFailure, match="could not be reached"):
            send(url)
    assert send(server.url).sent


def test_a_server_that_takes_no_proper_leave_has_the_mail_all_the_same(
    send: Send, server: MailServer
) -> None:
    server.answers["QUIT"] = "500 what"
    assert send(server.url).sent


def test_a_mail_that_was_put_off_goes_out_later(send: Send, server: MailServer) -> None:
    server.answers["BODY"] = "451 later"
    with pytest.raises(TransientFailure, match="put the mail off"):
        send(server.url)
    server.answers.clear()
    assert send(server.url).sent


@pytest.mark.parametrize(
    "variables",
    [
        {"SMTP_URL": "http://mail"},
        {"REPORT_RECIPIENTS": "nobody"},
        {"REPORT_SENDER": "x@y\r\nBcc: all@acme.example"},
    ],
)
def test_what_is_no_address_is_said(
    send: Send, server: MailServer, variables: dict[str, str]
) -> None:
    with pytest.raises(ConfigurationError):
        send(server.url, **variables)
    assert server.mails == []

"""What doctor says of a key that may do more than read what an audit needs."""

from pathlib import Path

from leakage_pipeline.commands.stripe_key import too_wide
from leakage_pipeline.settings import Settings, load_settings
from tests.unit.stripe_billing.conftest import ReaderOf, Request, Wire, as_list, error

FORBIDDEN = 403, error("no", code="more_permissions_required")
MISSING = 404, error("No such object", code="resource_missing")


def _settings(folder: Path, wire: Wire, key: str = "rk_test_wire") -> Settings:
    (folder / "leakage.yaml").write_text("sources: {}\n", encoding="utf-8")
    environment = {"STRIPE_API_KEY": key, "STRIPE_API_BASE": wire.base_url}
    return load_settings(folder / "leakage.yaml", environment)


def test_a_key_that_may_only_read_what_is_needed_is_not_talked_about(
    wire: Wire, reader_of: ReaderOf, tmp_path: Path
) -> None:
    wire.answer = lambda _: FORBIDDEN
    assert list(too_wide(_settings(tmp_path, wire), reader_of(wire))) == []


def test_needless_reads_and_writes_are_named_and_only_what_cannot_exist_is_changed(
    wire: Wire, reader_of: ReaderOf, tmp_path: Path
) -> None:
    def answer(request: Request) -> tuple[int, bytes]:
        if request.method == "POST":
            return MISSING if "/customers/" in request.path else FORBIDDEN
        return (200, as_list([])) if request.path == "/v1/payouts" else FORBIDDEN

    wire.answer = answer
    reads, writes = too_wide(_settings(tmp_path, wire), reader_of(wire))
    assert reads.endswith("take away Payouts (rak_payout_read)")
    assert writes.endswith("take away Customers (rak_customer_write)")
    changed = {
        request.path.rsplit("/", 1)[1] for request in wire.requests if request.method == "POST"
    }
    assert changed == {"leakage_doctor_asks_about_nothing"}


def test_a_full_key_is_named_without_trying_anything(
    wire: Wire, reader_of: ReaderOf, tmp_path: Path
) -> None:
    (hint,) = too_wide(_settings(tmp_path, wire, key="sk_test_wire"), reader_of(wire))
    assert "full secret key" in hint
    assert "sk_test" not in hint
    assert wire.requests == []


def test_a_server_that_knows_nothing_of_it_says_nothing(
    wire: Wire, reader_of: ReaderOf, tmp_path: Path
) -> None:
    wire.answer = lambda _: (404, error("Unrecognized request URL"))
    assert list(too_wide(_settings(tmp_path, wire), reader_of(wire))) == []

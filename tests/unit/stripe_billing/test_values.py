import json
from decimal import Decimal

import pytest

from leakage_pipeline.stripe_billing.values import (
    at,
    decimal_text,
    json_text,
    reference,
    without_nul,
)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("1E-12", "0.000000000001"),
        ("0.050", "0.050"),
        (Decimal("1E+3"), "1000"),
        (Decimal("12.50"), "12.50"),
        (125, "125"),
        ("123456789012345678901234567890.5", "123456789012345678901234567890.5"),
        (None, None),
    ],
)
def test_decimals_stay_exact_and_never_have_an_exponent(given: object, text: str | None) -> None:
    assert decimal_text(given) == text


@pytest.mark.parametrize("given", ["abc", "", "NaN", "Infinity", Decimal("NaN")])
def test_text_that_is_no_number_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="is"):
        decimal_text(given)


@pytest.mark.parametrize("given", [True, 0.1, {}, []])
def test_floats_and_other_types_are_refused(given: object) -> None:
    with pytest.raises(TypeError):
        decimal_text(given)


def test_a_reference_is_an_id_or_an_expanded_object() -> None:
    assert reference("cus_1") == reference({"id": "cus_1", "object": "customer"}) == "cus_1"
    assert reference(None) is None
    with pytest.raises(TypeError):
        reference({"object": "customer"})


def test_a_missing_key_on_the_way_gives_none_but_a_wrong_shape_is_an_error() -> None:
    assert at({"a": {"b": 1}}, "a", "b") == 1
    assert at({"a": None}, "a", "b") is None
    assert at({}, "a", "b") is None
    with pytest.raises(AttributeError):
        at({"a": "text"}, "a", "b")


def test_json_text_keeps_numbers_as_stripe_sent_them() -> None:
    sent = '{"percent_off":12.50,"value":123456789012345.678901,"n":1}'
    assert json_text(json.loads(sent, parse_float=Decimal)) == sent


def test_characters_that_postgres_cannot_store_are_replaced() -> None:
    assert json.loads(without_nul(rb'{"a": "x\u0000y"}')) == {"a": "x\ufffdy"}
    # An escaped backslash before "u0000" is text, not the character.
    assert json.loads(without_nul(rb'{"a": "\\u0000"}')) == {"a": "\\u0000"}
    assert json.loads(without_nul(rb'{"a": "\\\u0000"}')) == {"a": "\\\ufffd"}

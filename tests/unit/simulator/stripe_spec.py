"""Checks JSON against Stripe's published OpenAPI file, when that file lies beside the checkout.

The file is one API version older than ours, so keys that are newer are simply not checked.
"""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

FIXTURES = Path(__file__).resolve().parents[4] / "shared" / "fixtures"
SPEC = FIXTURES / "stripe_spec3.2026-08-26.dahlia.json.gz"
SAMPLES = FIXTURES / "openapi.fixtures3.json"

needs_spec = pytest.mark.skipif(not SPEC.exists(), reason="Stripe's OpenAPI file is not at hand")
needs_samples = pytest.mark.skipif(not SAMPLES.exists(), reason="Stripe's samples not at hand")


def _as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0 to JSON Schema: `nullable` becomes a choice with null."""
    if isinstance(node, list):
        return [_as_json_schema(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _as_json_schema(value) for key, value in node.items() if not key.startswith("x-")}
    if kept.pop("nullable", False) is True:
        kept.pop("description", None)
        return {"anyOf": [kept, {"type": "null"}]}
    return kept


@cache
def _schemas() -> dict[str, Any]:
    with gzip.open(SPEC, "rt", encoding="utf-8") as file:
        return {"schemas": _as_json_schema(json.load(file)["components"]["schemas"])}


@cache
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(
        {"$ref": f"#/components/schemas/{schema}", "components": _schemas()}
    )


def problems(shown: dict[str, Any], schema: str | None = None) -> list[str]:
    """What the file says is wrong with an object; its `object` names the schema."""
    found = _validator(schema or shown["object"]).iter_errors(shown)
    return [f"{error.json_path}: {error.message}"[:300] for error in found]


@cache
def samples() -> dict[str, Any]:
    """Stripe's sample objects by resource: right keys, made-up values."""
    return dict(json.loads(SAMPLES.read_text(encoding="utf-8"))["resources"])

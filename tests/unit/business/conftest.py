"""Settings for one business source written by the test, and what the warehouse then holds."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2.extensions
import psycopg2.extras
import pytest

from leakage_pipeline.settings import Settings, load_settings

AS_OF = datetime(2026, 6, 1, 6, tzinfo=UTC)
Query = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def settings_of(tmp_path: Path) -> Callable[..., Settings]:
    """Build settings from the sources' configuration."""

    def build(environ: dict[str, str] | None = None, **sources: Any) -> Settings:
        path = tmp_path / "leakage.yaml"
        path.write_text(json.dumps({"sources": sources}), encoding="utf-8")
        return load_settings(path, {"LEAKAGE_HOME": str(tmp_path / "home"), **(environ or {})})

    return build


@pytest.fixture
def query(warehouse: psycopg2.extensions.connection) -> Query:
    """Run a query on the warehouse and get dicts."""

    def run(statement: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        with warehouse.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute(statement, parameters)
            return [dict(row) for row in cursor.fetchall()]

    return run

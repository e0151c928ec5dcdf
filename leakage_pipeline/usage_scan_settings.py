"""The part of leakage.yaml that says how the usage log is scanned, not where it is."""

from typing import Annotated, Literal

from pydantic import Field

from leakage_pipeline.config_types import StrictModel


class UsageScan(StrictModel):
    """How the usage log is scanned: by DuckDB on this machine, or on a Spark cluster.

    Attributes:
        engine: duckdb reads what changed since the last scan; spark reads everything.
        memory_limit: What DuckDB may keep in memory; the rest spills to disk.
        spark: Spark's own configuration, such as `spark.master`.
    """

    engine: Literal["duckdb", "spark"] = "duckdb"
    memory_limit: Annotated[str, Field(pattern=r"^[1-9][0-9]*(\.[0-9]+)?\s?(MB|GB|MiB|GiB)$")] = (
        "2GB"
    )
    spark: dict[str, str] = Field(default_factory=dict)

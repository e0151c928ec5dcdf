"""The code location: loads everything below `defs/`.

Imports with an empty environment and touches neither network nor database.
"""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Assets, checks, jobs, schedules, sensors and resources of the whole pipeline."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)

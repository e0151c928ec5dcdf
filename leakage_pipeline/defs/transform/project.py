"""Where the dbt project is, and its manifest, parsed again whenever a file of it changed.

Parsing needs neither a database nor a secret, so loading the definitions stays possible with an
empty environment.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from dagster_dbt import DbtProject

PROJECT_DIR = Path(__file__).resolve().parents[3] / "dbt_project"
_NIGHTS = PROJECT_DIR.parent / "leakage_pipeline" / "nights"
_SOURCES = ("*.sql", "*.yml", "*.csv", "*.md")


def _sources() -> list[Path]:
    """Every file of the project that dbt reads."""
    return sorted(
        path
        for pattern in _SOURCES
        for path in PROJECT_DIR.rglob(pattern)
        if "target" not in path.relative_to(PROJECT_DIR).parts
    )


def _is_stale(manifest: Path) -> bool:
    """Whether any file that dbt reads is newer than the manifest."""
    if not manifest.exists():
        return True
    made_at = manifest.stat().st_mtime
    return any(path.stat().st_mtime > made_at for path in _sources())


def code_version() -> str:
    """Names the models as they are: another name when they, or what chooses customers, changed."""
    digest = hashlib.sha256()
    for path in [*_sources(), *sorted(_NIGHTS.glob("*.py")), *sorted(_NIGHTS.glob("*.sql"))]:
        digest.update(os.fsencode(path.relative_to(PROJECT_DIR.parent)))
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _parse(manifest: Path) -> None:
    """Write the manifest whole or not at all: commands that start together all come here."""
    manifest.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=manifest.parent, prefix="parse-") as folder:
        completed = subprocess.run(
            [
                *(sys.executable, "-m", "dbt.cli.main", "parse", "--quiet"),
                *("--project-dir", os.fspath(PROJECT_DIR)),
                *("--profiles-dir", os.fspath(PROJECT_DIR)),
                *("--target-path", folder, "--log-path", folder),
            ],
            check=False,
            capture_output=True,
            text=True,
        )
        if completed.returncode != 0:
            message = f"dbt cannot parse {PROJECT_DIR}:\n{completed.stdout}{completed.stderr}"
            raise RuntimeError(message)
        (Path(folder) / manifest.name).replace(manifest)


def load_project() -> DbtProject:
    """The dbt project with an up-to-date manifest.

    Raises:
        RuntimeError: dbt finds a mistake in the project; its own words are in the message.
    """
    project = DbtProject(project_dir=PROJECT_DIR, profiles_dir=PROJECT_DIR)
    if _is_stale(project.manifest_path):
        _parse(project.manifest_path)
    return project

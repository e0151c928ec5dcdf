"""What a receiver has of an action, as its lane's own look-up says."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Found:
    """`there` with its id, `absent`, or `unclear` with the reason."""

    state: Literal["there", "absent", "unclear"]
    remote_id: str | None = None
    reason: str = ""

"""What can become of a request that is no success; whoever sends tells these apart."""

from leakage_pipeline.failures import PermanentFailure, TransientFailure


class RefusedError(PermanentFailure):
    """It was not carried out and will not be."""


class KeyRefusedError(PermanentFailure):
    """The key is not accepted, or lacks the permission: nothing can be sent."""


class NotSentError(TransientFailure):
    """It was not carried out this time, for certain; a later try may succeed."""


class UnknownOutcomeError(TransientFailure):
    """It may or may not have been carried out."""

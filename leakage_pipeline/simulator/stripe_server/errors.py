"""Stripe's errors: one exception per kind of refusal, with Stripe's status, type, code and wording.

Raised anywhere below the application, turned into an answer there and nowhere else.
"""

from http import HTTPStatus
from typing import Any


class ApiError(Exception):
    """An answer of 400 or above in Stripe's error shape."""

    def __init__(
        self,
        status: HTTPStatus,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = int(status)
        self.message = message
        self.kind = kind
        self.code = code
        self.param = param

    def body(self) -> dict[str, Any]:
        """The JSON body of the answer."""
        error = {"message": self.message, "type": self.kind}
        if self.code is not None:
            error["code"] = self.code
            error["doc_url"] = f"https://stripe.com/docs/error-codes/{self.code.replace('_', '-')}"
        if self.param is not None:
            error["param"] = self.param
        return {"error": error}


def bad_request(*, message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """400: the request itself is wrong."""
    return ApiError(HTTPStatus.BAD_REQUEST, message, code=code, param=param)


def missing_param(*, param: str) -> ApiError:
    """400: a required parameter is absent."""
    return bad_request(
        message=f"Missing required param: {param}.", param=param, code="parameter_missing"
    )


def no_such(*, noun: str, object_id: str, param: str = "id", in_path: bool = True) -> ApiError:
    """404 when the id stands in the path, 400 when it is a parameter (a cursor, a filter)."""
    status = HTTPStatus.NOT_FOUND if in_path else HTTPStatus.BAD_REQUEST
    message = f"No such {noun}: '{object_id}'"
    return ApiError(status, message, code="resource_missing", param=param)


def unknown_url(*, method: str, path: str) -> ApiError:
    """404: Stripe has this address, or nothing has; the simulated server does not."""
    message = (
        f"Unrecognized request URL ({method}: {path}). "
        "If you are trying to list objects, remove the trailing slash. "
        "If you are trying to retrieve an object, make sure you passed a valid identifier."
    )
    return ApiError(HTTPStatus.NOT_FOUND, message)

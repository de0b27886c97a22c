"""What the shop's views share: JSON in, JSON out, problems as sentences."""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, JsonResponse


class Problem(Exception):  # noqa: N818 - a refusal is no error of the shop
    """A request that cannot be served: the sentence for the customer, and the HTTP status."""

    def __init__(self, sentence: str, *, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


def json_view(*, customers_only: bool = True) -> Callable[..., Any]:
    """A view ``(request, data, ...) -> dict`` as one of Django's; a Problem becomes its status."""

    def decorate(view: Callable[..., dict[str, Any]]) -> Callable[..., JsonResponse]:
        @wraps(view)
        def wrapped(request: HttpRequest, **kwargs: Any) -> JsonResponse:
            try:
                if customers_only and not request.user.is_authenticated:
                    raise Problem("Please sign up first.", status=401)
                return JsonResponse(view(request, _data(request), **kwargs))
            except Problem as problem:
                return JsonResponse({"problem": str(problem)}, status=problem.status)

        return wrapped

    return decorate


def _data(request: HttpRequest) -> dict[str, Any]:
    if request.method != "POST":
        return {}
    # A form on another site cannot send this content type, so no CSRF token is needed.
    if request.content_type != "application/json":
        raise Problem("Please send JSON.", status=415)
    try:
        data = json.loads(request.body or b"{}")
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise Problem("Please send a JSON object.")
    return data

from functools import partial
from typing import Any

from django.contrib.auth import get_user_model, login
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.views.decorators.http import require_POST

from accounts.tasks import send_welcome
from shop.api import Problem, json_view


@require_POST
@json_view(customers_only=False)
def sign_up(request: HttpRequest, data: dict[str, Any]) -> dict[str, Any]:
    name, email = str(data.get("name", "")).strip(), str(data.get("email", ""))
    try:
        validate_email(email)
    except ValidationError:
        raise Problem(f"{email!r} is no e-mail address.") from None
    try:
        with transaction.atomic():
            customer = get_user_model().objects.create_user(
                username=email, email=email, first_name=name, password=data.get("password")
            )
            # Only a customer who exists is welcomed. The Database backend would see to that by
            # itself, as the task commits with the row; this works with any backend.
            transaction.on_commit(partial(send_welcome.enqueue, customer.pk))
    except IntegrityError:
        raise Problem(f"{email} has an account already.", status=409) from None
    login(request, customer)
    return {"customer": customer.pk, "name": name}

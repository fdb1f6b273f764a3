"""The small app of the tests in Django, which needs a module for its URLs."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# Django has no types.

from __future__ import annotations

from typing import Any

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path

from tests.frameworks.endpoints import asynchronous_pieces, pieces, work

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None, MIDDLEWARE=[])
django.setup()


def chat(request: Any, number: int) -> HttpResponse:
    work()
    return HttpResponse(f'{{"number":{number}}}'.encode())


def stream(request: Any) -> StreamingHttpResponse:
    return StreamingHttpResponse(asynchronous_pieces() if isinstance(request, ASGIRequest) else pieces())


def fail(request: Any) -> None:
    raise KeyError("secret prompt")


urlpatterns = [path("chat/<int:number>", chat), path("stream", stream), path("fail", fail)]

__all__ = ["ASGIHandler", "WSGIHandler"]

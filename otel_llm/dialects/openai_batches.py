"""The results of a batch, as OpenAI writes them, and those who took its format over: a line for each request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from otel_llm.dialects.reading import get, text
from otel_llm.spec import Batch, Dialect

# OpenAI's results begin with their own id, others' with the request's, as what is asked in a batch does.
_BEGINS = re.compile(rb'\s*\{\s*"(?:id"\s*:\s*"batch_req_|custom_id"\s*:)')


def results(answers: Mapping[str, Dialect], marks: Mapping[str, Dialect], begins: re.Pattern[bytes] = _BEGINS) -> Batch:
    """A batch of these `answers`, by the `object` that they say they are, or the `task`.

    `marks` has those that say nothing, by a field that only they have.
    """

    def answer(line: Any) -> tuple[Dialect, Any] | None:
        body = get(line, "response", "body")
        if get(line, "response", "status_code") != HTTPStatus.OK:
            return None
        kind = text(get(body, "object"))
        dialect = answers.get(kind or text(get(body, "task")) or "")
        if dialect is None and kind is None:
            dialect = next((found for mark, found in marks.items() if get(body, mark) is not None), None)
        return None if dialect is None else (dialect, body)

    return Batch(begins, answer)

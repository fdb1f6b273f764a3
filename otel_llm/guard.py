"""The one place where a fault of ours is kept from the user's call."""

from __future__ import annotations

import logging
from traceback import format_exception_only
from types import TracebackType

logger = logging.getLogger("otel_llm")
_seen: set[tuple[str, int]] = set()


class _Guard:
    """`with guard:` around our own work: an Exception in the block ends the block, and nothing else.

    The first one of each place in the code is logged as a warning, the following ones at debug level. What is no
    Exception (KeyboardInterrupt, CancelledError, GeneratorExit) passes.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if kind is None or not issubclass(kind, Exception):
            return False
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = (trace.tb_frame.f_code.co_filename, trace.tb_lineno) if trace is not None else ("", 0)
        level = logging.DEBUG if place in _seen else logging.WARNING
        _seen.add(place)
        logger.log(
            level,
            "telemetry of a call is incomplete, the call itself is not affected: %s (%s:%d)",
            # As text: whoever keeps the log record would keep the error's frames, and the call in them.
            "".join(format_exception_only(error)).strip(),
            *place,
            exc_info=error if level == logging.DEBUG else None,
        )
        return True


guard = _Guard()

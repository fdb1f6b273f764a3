"""xai-sdk. It traces itself as soon as there is a tracer provider, prompts included: here it stays silent."""

from __future__ import annotations

from otel_llm.dialects.xai import PATHS, fields, whole
from otel_llm.spec import Integration
from otel_llm.transports import grpc_stub
from otel_llm.transports.own_spans import none

_TRACED = ("sync.chat", "sync.image", "aio.chat", "aio.image")

xai = Integration(
    name="xai",
    distribution="xai-sdk",
    oldest="1.12.0",
    newest_major=1,
    surfaces="chat: sample, stream, parse, defer, compaction; images; batches",
    patches=grpc_stub.patches(PATHS, "x_ai", fields, whole),
    hooks=(
        *grpc_stub.hooks(PATHS, ("chat", "ChatStub"), ("image", "ImageStub"), ("batch", "BatchMgmtStub")),
        *(none(f"xai_sdk.{module}", "tracer.start_as_current_span") for module in _TRACED),
    ),
)

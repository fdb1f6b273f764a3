"""botocore, which boto3 is made of, and aiobotocore: Bedrock's models."""

from __future__ import annotations

from otel_llm.dialects.bedrock import PATHS
from otel_llm.spec import Integration
from otel_llm.transports import botocore

_SURFACES = "bedrock-runtime: Converse, InvokeModel (Claude, Nova, Llama, Mistral, Cohere, Titan, OpenAI's shape)"

bedrock = Integration(
    name="bedrock",
    distribution="botocore",
    oldest="1.37.24",
    newest_major=1,
    surfaces=_SURFACES,
    patches=botocore.patches("botocore", "", PATHS),
    hooks=botocore.hooks("botocore", ""),
)
aiobotocore = Integration(
    name="aiobotocore",
    distribution="aiobotocore",
    oldest="2.23.0",
    newest_major=3,
    surfaces=_SURFACES,
    patches=botocore.patches("aiobotocore", "Aio", PATHS),
    hooks=botocore.hooks("aiobotocore", "Aio"),
)

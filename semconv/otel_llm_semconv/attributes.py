"""The vocabulary. Generated from semconv/model by semconv/generate.py: change it there."""

# One call to a model, on its CLIENT span.
GEN_AI_OPERATION_NAME = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL = "gen_ai.request.model"
GEN_AI_REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
GEN_AI_REQUEST_TEMPERATURE = "gen_ai.request.temperature"
GEN_AI_REQUEST_TOP_P = "gen_ai.request.top_p"
GEN_AI_REQUEST_TOP_K = "gen_ai.request.top_k"
GEN_AI_REQUEST_FREQUENCY_PENALTY = "gen_ai.request.frequency_penalty"
GEN_AI_REQUEST_PRESENCE_PENALTY = "gen_ai.request.presence_penalty"
GEN_AI_REQUEST_SEED = "gen_ai.request.seed"
GEN_AI_REQUEST_CHOICE_COUNT = "gen_ai.request.choice.count"
GEN_AI_REQUEST_STOP_SEQUENCES = "gen_ai.request.stop_sequences"
GEN_AI_REQUEST_STREAM = "gen_ai.request.stream"
GEN_AI_REQUEST_REASONING_LEVEL = "gen_ai.request.reasoning.level"
GEN_AI_REQUEST_PREVIOUS_RESPONSE_ID = "gen_ai.request.previous_response.id"
GEN_AI_REQUEST_ENCODING_FORMATS = "gen_ai.request.encoding_formats"
GEN_AI_EMBEDDINGS_DIMENSION_COUNT = "gen_ai.embeddings.dimension.count"
GEN_AI_OUTPUT_TYPE = "gen_ai.output.type"
GEN_AI_RESPONSE_ID = "gen_ai.response.id"
GEN_AI_RESPONSE_MODEL = "gen_ai.response.model"
GEN_AI_RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons"
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
GEN_AI_CONVERSATION_ID = "gen_ai.conversation.id"
ERROR_TYPE = "error.type"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"

# Tokens of one call. Only ever on the span of the call.
GEN_AI_USAGE_INPUT_TOKENS = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS = "gen_ai.usage.cache_write.input_tokens"
GEN_AI_USAGE_REASONING_OUTPUT_TOKENS = "gen_ai.usage.reasoning.output_tokens"
GEN_AI_USAGE_TEXT_INPUT_TOKENS = "gen_ai.usage.text.input_tokens"
GEN_AI_USAGE_TEXT_OUTPUT_TOKENS = "gen_ai.usage.text.output_tokens"
GEN_AI_USAGE_TEXT_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.text.cache_read.input_tokens"
GEN_AI_USAGE_AUDIO_INPUT_TOKENS = "gen_ai.usage.audio.input_tokens"
GEN_AI_USAGE_AUDIO_OUTPUT_TOKENS = "gen_ai.usage.audio.output_tokens"
GEN_AI_USAGE_IMAGE_INPUT_TOKENS = "gen_ai.usage.image.input_tokens"
GEN_AI_USAGE_IMAGE_OUTPUT_TOKENS = "gen_ai.usage.image.output_tokens"

# Cost of one call (conventions proposal 443). Only ever on the span of the call.
GEN_AI_USAGE_COST_AMOUNT = "gen_ai.usage.cost.amount"
GEN_AI_USAGE_COST_CURRENCY = "gen_ai.usage.cost.currency"
GEN_AI_USAGE_COST_SOURCE = "gen_ai.usage.cost.source"

# Agents, workflows and tools.
GEN_AI_AGENT_NAME = "gen_ai.agent.name"
GEN_AI_WORKFLOW_NAME = "gen_ai.workflow.name"
GEN_AI_TOOL_NAME = "gen_ai.tool.name"
GEN_AI_TOOL_TYPE = "gen_ai.tool.type"
GEN_AI_TOOL_CALL_ID = "gen_ai.tool.call.id"
GEN_AI_TOOL_DESCRIPTION = "gen_ai.tool.description"
GEN_AI_DATA_SOURCE_ID = "gen_ai.data_source.id"
GEN_AI_RETRIEVAL_TOP_K = "gen_ai.retrieval.top_k"

# Content. Off unless OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT asks for it.
GEN_AI_SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
GEN_AI_INPUT_MESSAGES = "gen_ai.input.messages"
GEN_AI_OUTPUT_MESSAGES = "gen_ai.output.messages"
GEN_AI_TOOL_DEFINITIONS = "gen_ai.tool.definitions"
GEN_AI_TOOL_CALL_ARGUMENTS = "gen_ai.tool.call.arguments"
GEN_AI_TOOL_CALL_RESULT = "gen_ai.tool.call.result"
GEN_AI_CLIENT_INFERENCE_OPERATION_DETAILS = "gen_ai.client.inference.operation.details"

# Who caused it. On every span of an interaction, from its start.
USER_ID = "user.id"
SESSION_ID = "session.id"

# The web request that an interaction begins with.
HTTP_REQUEST_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_RESPONSE_STATUS_CODE = "http.response.status_code"
URL_PATH = "url.path"
URL_SCHEME = "url.scheme"

# The job of a task queue that a worker runs.
MESSAGING_SYSTEM = "messaging.system"
MESSAGING_OPERATION_NAME = "messaging.operation.name"
MESSAGING_OPERATION_TYPE = "messaging.operation.type"
MESSAGING_DESTINATION_NAME = "messaging.destination.name"

# What decides the price, in the providers' own names.
OPENAI_REQUEST_SERVICE_TIER = "openai.request.service_tier"
OPENAI_RESPONSE_SERVICE_TIER = "openai.response.service_tier"
OPENAI_RESPONSE_SYSTEM_FINGERPRINT = "openai.response.system_fingerprint"
OPENAI_API_TYPE = "openai.api.type"
AWS_BEDROCK_GUARDRAIL_ID = "aws.bedrock.guardrail.id"
ANTHROPIC_REQUEST_SERVICE_TIER = "anthropic.request.service_tier"
ANTHROPIC_RESPONSE_SERVICE_TIER = "anthropic.response.service_tier"
ANTHROPIC_THINKING_BUDGET_TOKENS = "anthropic.thinking.budget_tokens"
ANTHROPIC_USAGE_CACHE_CREATION_EPHEMERAL_5M_INPUT_TOKENS = "anthropic.usage.cache_creation.ephemeral_5m_input_tokens"
ANTHROPIC_USAGE_CACHE_CREATION_EPHEMERAL_1H_INPUT_TOKENS = "anthropic.usage.cache_creation.ephemeral_1h_input_tokens"

# A request of the Model Context Protocol, on the span of who sends it and on that of who serves it.
MCP_METHOD_NAME = "mcp.method.name"
MCP_RESOURCE_URI = "mcp.resource.uri"
GEN_AI_PROMPT_NAME = "gen_ai.prompt.name"
RPC_RESPONSE_STATUS_CODE = "rpc.response.status_code"

# Metrics with `OTEL_LLM_METRICS=legacy` (the default) or `both`.
GEN_AI_CLIENT_OPERATION_DURATION = "gen_ai.client.operation.duration"
GEN_AI_CLIENT_OPERATION_TIME_TO_FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk"
GEN_AI_CLIENT_TOKEN_USAGE = "gen_ai.client.token.usage"

# Metrics with `OTEL_LLM_METRICS=latest` or `both`.
GEN_AI_CLIENT_INFERENCE_DURATION = "gen_ai.client.inference.duration"
GEN_AI_CLIENT_INFERENCE_TIME_TO_FIRST_CHUNK = "gen_ai.client.inference.time_to_first_chunk"
GEN_AI_CLIENT_INFERENCE_OPERATION_INPUT_TOKENS = "gen_ai.client.inference.operation.input_tokens"
GEN_AI_CLIENT_INFERENCE_OPERATION_OUTPUT_TOKENS = "gen_ai.client.inference.operation.output_tokens"
GEN_AI_CLIENT_INFERENCE_USAGE_INPUT_TOKENS = "gen_ai.client.inference.usage.input_tokens"
GEN_AI_CLIENT_INFERENCE_USAGE_OUTPUT_TOKENS = "gen_ai.client.inference.usage.output_tokens"
GEN_AI_CLIENT_INFERENCE_USAGE_CACHE_READ_INPUT_TOKENS = "gen_ai.client.inference.usage.cache_read.input_tokens"
GEN_AI_CLIENT_INFERENCE_USAGE_CACHE_WRITE_INPUT_TOKENS = "gen_ai.client.inference.usage.cache_write.input_tokens"
GEN_AI_CLIENT_INFERENCE_USAGE_REASONING_OUTPUT_TOKENS = "gen_ai.client.inference.usage.reasoning.output_tokens"

# Metrics with every setting but `none`.
GEN_AI_CLIENT_OPERATION_COST = "gen_ai.client.operation.cost"
OTEL_LLM_UNPRICED_CALLS = "otel_llm.unpriced_calls"

# Attributes of metrics, beside operation, provider, models, server and `error.type`.
GEN_AI_TOKEN_TYPE = "gen_ai.token.type"
GEN_AI_TOKEN_MODALITY = "gen_ai.token.modality"

# How the cost of one call came about. On the span of the call.
OTEL_LLM_COST_NANO_USD = "otel_llm.cost.nano_usd"
OTEL_LLM_COST_INPUT = "otel_llm.cost.input"
OTEL_LLM_COST_CACHE_READ = "otel_llm.cost.cache_read"
OTEL_LLM_COST_CACHE_WRITE = "otel_llm.cost.cache_write"
OTEL_LLM_COST_OUTPUT = "otel_llm.cost.output"
OTEL_LLM_COST_OTHER = "otel_llm.cost.other"
OTEL_LLM_COST_STATUS = "otel_llm.cost.status"
OTEL_LLM_COST_UNPRICED_REASON = "otel_llm.cost.unpriced_reason"
OTEL_LLM_PRICE_KEY = "otel_llm.price.key"
OTEL_LLM_PRICE_VARIANT = "otel_llm.price.variant"
OTEL_LLM_PRICE_BOOK = "otel_llm.price.book"
OTEL_LLM_PRICE_VALID_FROM = "otel_llm.price.valid_from"
OTEL_LLM_PRICE_ADJUSTED = "otel_llm.price.adjusted"

# Tokens in disjoint buckets, and where the counts came from. On the span of the call.
OTEL_LLM_USAGE_SOURCE = "otel_llm.usage.source"
OTEL_LLM_USAGE_ESTIMATOR = "otel_llm.usage.estimator"
OTEL_LLM_USAGE_INCONSISTENT = "otel_llm.usage.inconsistent"
OTEL_LLM_USAGE_INPUT = "otel_llm.usage.input"
OTEL_LLM_USAGE_OUTPUT = "otel_llm.usage.output"
OTEL_LLM_USAGE_CACHE_WRITE_5M = "otel_llm.usage.cache_write_5m"
OTEL_LLM_USAGE_CACHE_WRITE_1H = "otel_llm.usage.cache_write_1h"
OTEL_LLM_USAGE_CACHE_WRITE_OTHER = "otel_llm.usage.cache_write_other"
OTEL_LLM_USAGE_REQUESTS_PREFIX = "otel_llm.usage.requests."

# How one call went. On the span of the call.
OTEL_LLM_ATTEMPTS = "otel_llm.attempts"
OTEL_LLM_STREAM_OUTCOME = "otel_llm.stream.outcome"
OTEL_LLM_SERVICE_TIER = "otel_llm.service_tier"
OTEL_LLM_LAYER = "otel_llm.layer"
OTEL_LLM_ENDPOINT = "otel_llm.endpoint"

# Event `otel_llm.attempt.failed`, one for each failed HTTP request inside a call.
OTEL_LLM_ATTEMPT_FAILED = "otel_llm.attempt.failed"
OTEL_LLM_ATTEMPT_NUMBER = "otel_llm.attempt.number"
OTEL_LLM_ATTEMPT_STATUS_CODE = "otel_llm.attempt.status_code"
OTEL_LLM_ATTEMPT_ERROR = "otel_llm.attempt.error"

# One user action. Identity on every span of it; the bill on its root span.
OTEL_LLM_INTERACTION_ID = "otel_llm.interaction.id"
OTEL_LLM_INTERACTION_PARENT_ID = "otel_llm.interaction.parent.id"
OTEL_LLM_INTERACTION_NAME = "otel_llm.interaction.name"
OTEL_LLM_FEATURE = "otel_llm.feature"
OTEL_LLM_TENANT = "otel_llm.tenant"
OTEL_LLM_TAG_PREFIX = "otel_llm.tag."
OTEL_LLM_INTERACTION_COST_AMOUNT = "otel_llm.interaction.cost.amount"
OTEL_LLM_INTERACTION_COST_COVERAGE = "otel_llm.interaction.cost.coverage"
OTEL_LLM_INTERACTION_CALLS = "otel_llm.interaction.calls"
OTEL_LLM_INTERACTION_ATTEMPTS = "otel_llm.interaction.attempts"
OTEL_LLM_INTERACTION_INPUT_TOKENS = "otel_llm.interaction.input_tokens"
OTEL_LLM_INTERACTION_OUTPUT_TOKENS = "otel_llm.interaction.output_tokens"
OTEL_LLM_INTERACTION_RETRIES = "otel_llm.interaction.retries"
OTEL_LLM_INTERACTION_COST_WASTED = "otel_llm.interaction.cost.wasted"
OTEL_LLM_INTERACTION_STEPS = "otel_llm.interaction.steps"
OTEL_LLM_INTERACTION_FAN_OUT = "otel_llm.interaction.fan_out"
OTEL_LLM_INTERACTION_DEPTH = "otel_llm.interaction.depth"
OTEL_LLM_INTERACTION_TOOL_CALLS = "otel_llm.interaction.tool_calls"
OTEL_LLM_INTERACTION_LOOPS = "otel_llm.interaction.loops"
OTEL_LLM_INTERACTION_LOOPING_TOOLS = "otel_llm.interaction.looping_tools"
OTEL_LLM_INTERACTION_RESENT_INPUT_TOKENS = "otel_llm.interaction.resent_input_tokens"
OTEL_LLM_INTERACTION_OUTCOME = "otel_llm.interaction.outcome"
OTEL_LLM_INTERACTION_SUCCESS = "otel_llm.interaction.success"

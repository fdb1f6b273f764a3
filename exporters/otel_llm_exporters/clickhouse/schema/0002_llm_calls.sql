-- One row per call to a model. Every column of its key is a function of the span, so that a span that arrives twice is
-- one call, whatever time zone the server is in by then: read it with FINAL. `Revision` is 0 as it came; a repricing writes the row again with a higher one.
-- What is not known is NULL, never 0. Money is in USD. Token buckets: Input and Output are totals as the provider
-- bills them; Uncached, CacheRead, CacheWrite, InputAudio and InputImage are parts of Input; Visible, Reasoning,
-- OutputAudio and OutputImage are parts of Output.
-- LZ4 where sums are made by: it is read several times faster than ZSTD.
CREATE TABLE IF NOT EXISTS llm_calls
(
    Timestamp             DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    TraceId               String CODEC(ZSTD(1)),
    SpanId                String CODEC(ZSTD(1)),
    ParentSpanId          String CODEC(ZSTD(1)),
    InteractionId         String CODEC(LZ4),
    ParentInteractionId   String CODEC(ZSTD(1)),
    InteractionName       LowCardinality(String),
    ServiceName           LowCardinality(String),
    Environment           LowCardinality(String),
    Feature               LowCardinality(String),
    Tenant                LowCardinality(String),
    Endpoint              LowCardinality(String),
    UserId                String CODEC(LZ4),
    SessionId             String CODEC(ZSTD(1)),
    ConversationId        String CODEC(ZSTD(1)),
    Tags                  Map(LowCardinality(String), String) CODEC(ZSTD(1)),

    SpanName              LowCardinality(String),
    ScopeName             LowCardinality(String),
    Operation             LowCardinality(String),
    Provider              LowCardinality(String),
    RequestModel          LowCardinality(String),
    ResponseModel         LowCardinality(String),
    Model                 LowCardinality(String) ALIAS if(ResponseModel != '', ResponseModel, RequestModel),
    ResponseId            String CODEC(ZSTD(1)),
    ServiceTier           LowCardinality(String),
    AgentName             LowCardinality(String),
    PromptName            LowCardinality(String),
    FinishReason          LowCardinality(String),
    Layer                 LowCardinality(String),

    DurationNs            UInt64 CODEC(T64, ZSTD(1)),
    TtftNs                Nullable(UInt64) CODEC(T64, ZSTD(1)),
    Attempts              Nullable(UInt32) CODEC(T64, ZSTD(1)),
    Streaming             Bool,
    StreamOutcome         LowCardinality(String),
    Status                LowCardinality(String),
    ErrorType             LowCardinality(String),
    Wasted                Bool ALIAS Status = 'Error' OR StreamOutcome IN ('aborted', 'abandoned', 'failed'),

    InputTokens           Nullable(UInt64) CODEC(T64, ZSTD(1)),
    UncachedInputTokens   Nullable(UInt64) CODEC(T64, ZSTD(1)),
    CacheReadTokens       Nullable(UInt64) CODEC(T64, ZSTD(1)),
    CacheWriteTokens      Nullable(UInt64) CODEC(T64, ZSTD(1)),
    CacheWrite5mTokens    Nullable(UInt64) CODEC(T64, ZSTD(1)),
    CacheWrite1hTokens    Nullable(UInt64) CODEC(T64, ZSTD(1)),
    CacheWriteOtherTokens Nullable(UInt64) CODEC(T64, ZSTD(1)),
    InputAudioTokens      Nullable(UInt64) CODEC(T64, ZSTD(1)),
    InputImageTokens      Nullable(UInt64) CODEC(T64, ZSTD(1)),
    OutputTokens          Nullable(UInt64) CODEC(T64, ZSTD(1)),
    VisibleOutputTokens   Nullable(UInt64) CODEC(T64, ZSTD(1)),
    ReasoningTokens       Nullable(UInt64) CODEC(T64, ZSTD(1)),
    OutputAudioTokens     Nullable(UInt64) CODEC(T64, ZSTD(1)),
    OutputImageTokens     Nullable(UInt64) CODEC(T64, ZSTD(1)),
    ToolRequests          Map(LowCardinality(String), UInt64) CODEC(ZSTD(1)),
    UsageSource           LowCardinality(String),
    UsageInconsistent     String CODEC(ZSTD(1)),

    InputCost             Nullable(Decimal(18, 12)) CODEC(T64, ZSTD(1)),
    CacheReadCost         Nullable(Decimal(18, 12)) CODEC(T64, ZSTD(1)),
    CacheWriteCost        Nullable(Decimal(18, 12)) CODEC(T64, ZSTD(1)),
    OutputCost            Nullable(Decimal(18, 12)) CODEC(T64, ZSTD(1)),
    OtherCost             Nullable(Decimal(18, 12)) CODEC(T64, ZSTD(1)),
    TotalCost             Nullable(Decimal(18, 12)) CODEC(T64, LZ4),
    Currency              LowCardinality(String),
    CostStatus            LowCardinality(String),
    CostSource            LowCardinality(String),
    UnpricedReason        LowCardinality(String),
    PriceKey              LowCardinality(String),
    PriceVariant          LowCardinality(String),
    PriceBook             LowCardinality(String),
    PriceValidFrom        LowCardinality(String),
    PriceAdjusted         LowCardinality(String),

    Revision              UInt32 DEFAULT 0,
    IngestedAt            DateTime DEFAULT now(),

    INDEX idx_trace       TraceId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_interaction InteractionId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_user        UserId TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX idx_session     SessionId TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(Revision)
PARTITION BY toYYYYMM(Timestamp)
PRIMARY KEY (toDate(Timestamp), ServiceName, Feature)
ORDER BY (toDate(Timestamp), ServiceName, Feature, InteractionId, TraceId, SpanId)
SETTINGS
    ttl_only_drop_parts = 1,
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

-- Which spans are calls, and what they say. Not only ours: the names of OpenLLMetry and OpenInference are read, too.
-- Agents, workflows and tools are no calls, whatever usage they carry.
-- Only functions that cannot throw, because a bad span must not stop an insert: what cannot be read is NULL.
CREATE MATERIALIZED VIEW IF NOT EXISTS llm_calls_mv TO llm_calls AS
WITH
    SpanAttributes AS a,
    ResourceAttributes AS r,
    name -> nullIf(a[name], '') AS said,
    text -> accurateCastOrNull(toFloat64OrNull(text), 'UInt64') AS tokens,
    text -> toDecimal64OrNull(nullIf(text, ''), 12) AS usd,
    prefix -> mapApply((k, v) -> (substring(k, length(prefix) + 1), v), mapFilter((k, v) -> startsWith(k, prefix), a)) AS under,
    JSONExtract(a['gen_ai.response.finish_reasons'], 'Array(String)') AS reasons,
    -- Exact where we counted: whole nano-dollars. toInt64OrNull first, because 'e-9' alone would be read as 0.
    toDecimal64OrNull(concat(toString(toInt64OrNull(a['otel_llm.cost.nano_usd'])), 'e-9'), 12) AS exact,
    coalesce(said('gen_ai.usage.cost.amount'), said('gen_ai.usage.cost'), said('operation.cost'), a['llm.cost.total']) AS amount
SELECT
    Timestamp,
    TraceId,
    SpanId,
    ParentSpanId,
    coalesce(said('otel_llm.interaction.id'), TraceId) AS InteractionId,
    a['otel_llm.interaction.parent.id'] AS ParentInteractionId,
    a['otel_llm.interaction.name'] AS InteractionName,
    ServiceName,
    if(r['deployment.environment.name'] != '', r['deployment.environment.name'], r['deployment.environment']) AS Environment,
    a['otel_llm.feature'] AS Feature,
    a['otel_llm.tenant'] AS Tenant,
    coalesce(said('otel_llm.endpoint'), a['http.route']) AS Endpoint,
    coalesce(said('user.id'), said('enduser.id'), a['traceloop.association.properties.user_id']) AS UserId,
    coalesce(said('session.id'), a['traceloop.association.properties.session_id']) AS SessionId,
    a['gen_ai.conversation.id'] AS ConversationId,
    under('otel_llm.tag.') AS Tags,

    SpanName,
    ScopeName,
    Operation,
    coalesce(said('gen_ai.provider.name'), said('gen_ai.system'), said('llm.provider'), a['llm.system']) AS Provider,
    coalesce(said('gen_ai.request.model'), said('llm.model_name'), a['embedding.model_name']) AS RequestModel,
    a['gen_ai.response.model'] AS ResponseModel,
    a['gen_ai.response.id'] AS ResponseId,
    coalesce(said('otel_llm.service_tier'), said('openai.response.service_tier'), a['anthropic.response.service_tier'])
        AS ServiceTier,
    a['gen_ai.agent.name'] AS AgentName,
    a['gen_ai.prompt.name'] AS PromptName,
    if(empty(reasons), coalesce(said('gen_ai.response.finish_reason'), a['llm.response.finish_reason']),
        arrayStringConcat(arrayDistinct(reasons), ',')) AS FinishReason,
    a['otel_llm.layer'] AS Layer,

    Duration AS DurationNs,
    accurateCastOrNull(round(toFloat64OrNull(a['gen_ai.response.time_to_first_chunk']) * 1e9), 'UInt64') AS TtftNs,
    toUInt32OrNull(a['otel_llm.attempts']) AS Attempts,
    StreamOutcome != '' OR a['gen_ai.request.stream'] = 'true' OR a['llm.is_streaming'] = 'true' AS Streaming,
    a['otel_llm.stream.outcome'] AS StreamOutcome,
    multiIf(StatusCode IN ('Error', 'STATUS_CODE_ERROR'), 'Error', StatusCode IN ('Ok', 'STATUS_CODE_OK'), 'Ok', 'Unset')
        AS Status,
    a['error.type'] AS ErrorType,

    tokens(coalesce(said('gen_ai.usage.input_tokens'), said('gen_ai.usage.prompt_tokens'), said('llm.token_count.prompt')))
        AS InputTokens,
    tokens(a['otel_llm.usage.input']) AS UncachedInputTokens,
    tokens(coalesce(said('gen_ai.usage.cache_read.input_tokens'), said('gen_ai.usage.cache_read_input_tokens'),
        said('llm.token_count.prompt_details.cache_read'))) AS CacheReadTokens,
    tokens(coalesce(said('gen_ai.usage.cache_write.input_tokens'), said('gen_ai.usage.cache_creation.input_tokens'),
        said('gen_ai.usage.cache_creation_input_tokens'), said('llm.token_count.prompt_details.cache_write')))
        AS CacheWriteTokens,
    tokens(coalesce(said('otel_llm.usage.cache_write_5m'),
        said('anthropic.usage.cache_creation.ephemeral_5m_input_tokens'))) AS CacheWrite5mTokens,
    tokens(coalesce(said('otel_llm.usage.cache_write_1h'),
        said('anthropic.usage.cache_creation.ephemeral_1h_input_tokens'))) AS CacheWrite1hTokens,
    tokens(a['otel_llm.usage.cache_write_other']) AS CacheWriteOtherTokens,
    tokens(coalesce(said('gen_ai.usage.audio.input_tokens'), said('llm.token_count.prompt_details.audio')))
        AS InputAudioTokens,
    tokens(a['gen_ai.usage.image.input_tokens']) AS InputImageTokens,
    tokens(coalesce(said('gen_ai.usage.output_tokens'), said('gen_ai.usage.completion_tokens'),
        said('llm.token_count.completion'))) AS OutputTokens,
    tokens(a['otel_llm.usage.output']) AS VisibleOutputTokens,
    tokens(coalesce(said('gen_ai.usage.reasoning.output_tokens'), said('gen_ai.usage.reasoning_tokens'),
        said('llm.token_count.completion_details.reasoning'))) AS ReasoningTokens,
    tokens(coalesce(said('gen_ai.usage.audio.output_tokens'), said('llm.token_count.completion_details.audio')))
        AS OutputAudioTokens,
    tokens(a['gen_ai.usage.image.output_tokens']) AS OutputImageTokens,
    mapApply((k, v) -> (k, toUInt64OrZero(v)), under('otel_llm.usage.requests.')) AS ToolRequests,
    a['otel_llm.usage.source'] AS UsageSource,
    a['otel_llm.usage.inconsistent'] AS UsageInconsistent,

    usd(a['otel_llm.cost.input']) AS InputCost,
    usd(a['otel_llm.cost.cache_read']) AS CacheReadCost,
    usd(a['otel_llm.cost.cache_write']) AS CacheWriteCost,
    usd(a['otel_llm.cost.output']) AS OutputCost,
    usd(a['otel_llm.cost.other']) AS OtherCost,
    coalesce(exact, if(Currency IN ('', 'USD'), usd(amount), NULL)) AS TotalCost,
    a['gen_ai.usage.cost.currency'] AS Currency,
    multiIf(a['otel_llm.cost.status'] != '', a['otel_llm.cost.status'], TotalCost IS NULL, 'unpriced', 'priced')
        AS CostStatus,
    multiIf(a['gen_ai.usage.cost.source'] != '', a['gen_ai.usage.cost.source'], TotalCost IS NULL, '', 'foreign')
        AS CostSource,
    multiIf(
        a['otel_llm.cost.unpriced_reason'] != '', a['otel_llm.cost.unpriced_reason'],
        TotalCost IS NOT NULL, '',
        Currency NOT IN ('', 'USD'), concat('the cost is in ', Currency),
        'its instrumentation reported no cost') AS UnpricedReason,
    a['otel_llm.price.key'] AS PriceKey,
    a['otel_llm.price.variant'] AS PriceVariant,
    a['otel_llm.price.book'] AS PriceBook,
    a['otel_llm.price.valid_from'] AS PriceValidFrom,
    a['otel_llm.price.adjusted'] AS PriceAdjusted
FROM
(
    -- Filtered first: reading the attributes of all the other spans would cost as much again.
    WITH
        SpanAttributes AS a,
        upper(coalesce(nullIf(a['openinference.span.kind'], ''), nullIf(a['traceloop.span.kind'], ''),
            a['llm.request.type'])) AS kind
    SELECT
        *,
        multiIf(
            a['gen_ai.operation.name'] != '', a['gen_ai.operation.name'],
            kind = 'EMBEDDING', 'embeddings',
            kind = 'COMPLETION', 'text_completion',
            kind IN ('LLM', 'CHAT') OR kind = '' AND a['gen_ai.request.model'] != '', 'chat',
            '') AS Operation
    FROM otel_traces
    -- Calls that we recorded have a status, of whatever kind they are: pictures, sound, reranking.
    -- A call that another span tells of already is `covered` there.
    WHERE (Operation IN ('chat', 'text_completion', 'generate_content', 'embeddings') OR a['otel_llm.cost.status'] != '')
        AND a['otel_llm.layer'] != 'covered'
        -- Nor is it a call where a span only names a model: Anthropic's SDK names one where it counts tokens.
        AND (kind != '' OR a['gen_ai.operation.name'] != '' OR StatusCode IN ('Error', 'STATUS_CODE_ERROR')
            OR arrayExists(name -> startsWith(name, 'gen_ai.response.') OR startsWith(name, 'gen_ai.usage.')
                OR name IN ('gen_ai.output.messages', 'gen_ai.completion'), mapKeys(a)))
);

-- What the root span of an interaction said: its name, whom it was for, when it began and ended, what became of it.
-- An outcome that is reported later comes in a span of its own, as a row of its own.
CREATE TABLE IF NOT EXISTS interaction_roots
(
    Ended               DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    Timestamp           DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    TraceId             String CODEC(ZSTD(1)),
    SpanId              String CODEC(ZSTD(1)),
    InteractionId       String CODEC(ZSTD(1)),
    ParentInteractionId String CODEC(ZSTD(1)),
    InteractionName     LowCardinality(String),
    ServiceName         LowCardinality(String),
    Feature             LowCardinality(String),
    Tenant              LowCardinality(String),
    Endpoint            LowCardinality(String),
    UserId              String CODEC(ZSTD(1)),
    SessionId           String CODEC(ZSTD(1)),
    Tags                Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    Outcome             LowCardinality(String),
    Success             Nullable(Bool),
    Calls               Nullable(UInt32) CODEC(T64, ZSTD(1)),
    Steps               Nullable(UInt32) CODEC(T64, ZSTD(1)),
    FanOut              Nullable(UInt32) CODEC(T64, ZSTD(1)),
    Depth               Nullable(UInt32) CODEC(T64, ZSTD(1)),
    ToolCalls           Nullable(UInt32) CODEC(T64, ZSTD(1)),
    Loops               Nullable(UInt32) CODEC(T64, ZSTD(1)),
    ResentTokens        Nullable(UInt64) CODEC(T64, ZSTD(1)),
    IsRoot              Bool,
    INDEX idx_trace TraceId TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(Timestamp)
ORDER BY (InteractionId, Timestamp, TraceId, SpanId)
SETTINGS
    ttl_only_drop_parts = 1,
    non_replicated_deduplication_window = 10000,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS interaction_roots_mv TO interaction_roots AS
WITH
    SpanAttributes AS a,
    -- What did not happen is absent, where anything is told at all.
    name -> if(Steps IS NULL, NULL, toUInt32OrZero(a[name])) AS times
SELECT
    addNanoseconds(Timestamp, Duration) AS Ended,
    Timestamp,
    TraceId,
    SpanId,
    a['otel_llm.interaction.id'] AS InteractionId,
    a['otel_llm.interaction.parent.id'] AS ParentInteractionId,
    a['otel_llm.interaction.name'] AS InteractionName,
    ServiceName,
    a['otel_llm.feature'] AS Feature,
    a['otel_llm.tenant'] AS Tenant,
    if(a['otel_llm.endpoint'] != '', a['otel_llm.endpoint'], a['http.route']) AS Endpoint,
    a['user.id'] AS UserId,
    a['session.id'] AS SessionId,
    mapApply((k, v) -> (substring(k, length('otel_llm.tag.') + 1), v),
        mapFilter((k, v) -> startsWith(k, 'otel_llm.tag.'), a)) AS Tags,
    a['otel_llm.interaction.outcome'] AS Outcome,
    multiIf(a['otel_llm.interaction.success'] = 'true', true, a['otel_llm.interaction.success'] = 'false', false, NULL)
        AS Success,
    toUInt32OrNull(a['otel_llm.interaction.calls']) AS Calls,
    toUInt32OrNull(a['otel_llm.interaction.steps']) AS Steps,
    times('otel_llm.interaction.fan_out') AS FanOut,
    times('otel_llm.interaction.depth') AS Depth,
    times('otel_llm.interaction.tool_calls') AS ToolCalls,
    times('otel_llm.interaction.loops') AS Loops,
    if(Steps IS NULL, NULL, toUInt64OrZero(a['otel_llm.interaction.resent_input_tokens'])) AS ResentTokens,
    a['otel_llm.interaction.calls'] != '' OR ParentInteractionId != '' AS IsRoot
FROM otel_traces
WHERE InteractionId != '' AND (IsRoot OR Outcome != '');

-- Whom an interaction was for. Often that is known only after its first calls, so the latest word counts.
CREATE VIEW IF NOT EXISTS interaction_identities AS
SELECT
    InteractionId,
    argMaxIf(InteractionName, Said, InteractionName != '') AS InteractionName,
    argMaxIf(UserId, Said, UserId != '') AS UserId,
    argMaxIf(SessionId, Said, SessionId != '') AS SessionId,
    argMaxIf(Feature, Said, Feature != '') AS Feature,
    argMaxIf(Tenant, Said, Tenant != '') AS Tenant,
    argMaxIf(Endpoint, Said, Endpoint != '') AS Endpoint,
    argMaxIf(Tags, Said, notEmpty(Tags)) AS Tags
FROM
(
    SELECT InteractionId, InteractionName, UserId, SessionId, Feature, Tenant, Endpoint, Tags, Timestamp AS Said
    FROM llm_calls
    UNION ALL
    SELECT InteractionId, InteractionName, UserId, SessionId, Feature, Tenant, Endpoint, Tags, Ended AS Said
    FROM interaction_roots
)
GROUP BY InteractionId;

-- Calls, each once; what a call does not say of its user, session, feature ..., its interaction says.
CREATE VIEW IF NOT EXISTS attributed_calls AS
SELECT
    call.* EXCEPT (InteractionName, UserId, SessionId, Feature, Tenant, Endpoint, Tags),
    call.Model AS Model,
    call.Wasted AS Wasted,
    if(call.InteractionName != '', call.InteractionName, whole.InteractionName) AS InteractionName,
    if(call.UserId != '', call.UserId, whole.UserId) AS UserId,
    if(call.SessionId != '', call.SessionId, whole.SessionId) AS SessionId,
    if(call.Feature != '', call.Feature, whole.Feature) AS Feature,
    if(call.Tenant != '', call.Tenant, whole.Tenant) AS Tenant,
    if(call.Endpoint != '', call.Endpoint, whole.Endpoint) AS Endpoint,
    mapUpdate(whole.Tags, call.Tags) AS Tags
FROM llm_calls AS call FINAL
LEFT JOIN interaction_identities AS whole ON call.InteractionId = whole.InteractionId;

-- One row per interaction that made calls. Cost is NULL when none of its calls has one; `PricedCalls` of `Calls` is
-- how much of it is known. A nested interaction is a row of its own and in no other: adding up rows counts nothing twice.
-- Steps, FanOut and Depth are as its root spans tell them, with what is nested in it. So ToolCalls, Loops and ResentTokens
-- (an estimate) are NULL where other calls than those of the row are in them.
CREATE VIEW IF NOT EXISTS interactions AS
SELECT
    calls.InteractionId AS InteractionId,
    roots.ParentInteractionId AS ParentInteractionId,
    whole.InteractionName AS InteractionName,
    whole.UserId AS UserId,
    whole.SessionId AS SessionId,
    whole.Feature AS Feature,
    whole.Tenant AS Tenant,
    whole.Endpoint AS Endpoint,
    calls.ServiceName AS ServiceName,
    if(roots.Roots > 0, least(calls.Start, roots.Start), calls.Start) AS Start,
    if(roots.Roots > 0, greatest(calls.End, roots.End), calls.End) AS End,
    calls.Calls AS Calls,
    calls.Attempts AS Attempts,
    calls.Retries AS Retries,
    calls.Errors AS Errors,
    calls.InputTokens AS InputTokens,
    calls.OutputTokens AS OutputTokens,
    calls.CacheReadTokens AS CacheReadTokens,
    calls.Cost AS Cost,
    calls.EstimatedCost AS EstimatedCost,
    calls.WastedCost AS WastedCost,
    calls.PricedCalls AS PricedCalls,
    calls.PartialCalls AS PartialCalls,
    calls.Calls - calls.PricedCalls AS UnpricedCalls,
    calls.Models AS Models,
    roots.Steps AS Steps,
    roots.FanOut AS FanOut,
    roots.Depth AS Depth,
    if(roots.Calls = calls.Calls, roots.ToolCalls, NULL) AS ToolCalls,
    if(roots.Calls = calls.Calls, roots.Loops, NULL) AS Loops,
    if(roots.Calls = calls.Calls, roots.ResentTokens, NULL) AS ResentTokens,
    roots.LastOutcome AS Outcome,
    roots.LastSuccess AS Success
FROM
(
    SELECT
        InteractionId,
        any(ServiceName) AS ServiceName,
        min(Timestamp) AS Start,
        max(addNanoseconds(Timestamp, DurationNs)) AS End,
        count() AS Calls,
        sum(Attempts) AS Attempts,
        Attempts - count(llm_calls.Attempts) AS Retries,
        countIf(Status = 'Error') AS Errors,
        sum(InputTokens) AS InputTokens,
        sum(OutputTokens) AS OutputTokens,
        sum(CacheReadTokens) AS CacheReadTokens,
        sum(TotalCost) AS Cost,
        if(countIf(UsageSource IN ('estimated', 'partial')) = 0, toDecimal128(0, 12),
            sumIf(TotalCost, UsageSource IN ('estimated', 'partial'))) AS EstimatedCost,
        if(countIf(Wasted) = 0, toDecimal128(0, 12), sumIf(TotalCost, Wasted)) AS WastedCost,
        count(TotalCost) AS PricedCalls,
        countIf(CostStatus = 'partial') AS PartialCalls,
        arraySort(groupUniqArray(Model)) AS Models
    FROM llm_calls FINAL
    GROUP BY InteractionId
) AS calls
LEFT JOIN interaction_identities AS whole ON calls.InteractionId = whole.InteractionId
LEFT JOIN
(
    SELECT
        InteractionId,
        argMaxIf(ParentInteractionId, Ended, ParentInteractionId != '') AS ParentInteractionId,
        countIf(IsRoot) AS Roots,
        minIf(Timestamp, IsRoot) AS Start,
        maxIf(Ended, IsRoot) AS End,
        argMaxIf(Outcome, Ended, Outcome != '') AS LastOutcome,
        argMaxIf(tuple(Success), Ended, Outcome != '').1 AS LastSuccess,
        sum(Calls) AS Calls,
        sum(Steps) AS Steps,
        max(FanOut) AS FanOut,
        max(Depth) AS Depth,
        sum(ToolCalls) AS ToolCalls,
        sum(Loops) AS Loops,
        sum(ResentTokens) AS ResentTokens
    FROM interaction_roots FINAL
    GROUP BY InteractionId
) AS roots ON calls.InteractionId = roots.InteractionId;

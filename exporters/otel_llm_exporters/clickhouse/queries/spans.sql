-- The tree of one interaction: its spans and those of the interactions nested in it, and the spans around them that
-- belong to no interaction. What only a call has is NULL or empty on the other spans.
WITH RECURSIVE
    family AS
    (
        SELECT {id:String} AS Id
        UNION ALL
        SELECT nested.InteractionId AS Id
        FROM interaction_roots AS nested FINAL
        INNER JOIN family ON nested.ParentInteractionId = family.Id
        WHERE nested.InteractionId != family.Id
    ),
    traces AS
    (
        SELECT TraceId FROM llm_calls WHERE InteractionId IN (SELECT Id FROM family)
        UNION DISTINCT
        SELECT TraceId FROM interaction_roots WHERE InteractionId IN (SELECT Id FROM family)
    )
SELECT
    span.TraceId AS TraceId,
    span.SpanId AS SpanId,
    span.ParentSpanId AS ParentSpanId,
    span.SpanName AS SpanName,
    span.SpanKind AS SpanKind,
    span.ServiceName AS ServiceName,
    span.Timestamp AS Timestamp,
    span.Duration AS DurationNs,
    span.StatusCode AS StatusCode,
    span.StatusMessage AS StatusMessage,
    span.SpanAttributes['error.type'] AS ErrorType,
    span.SpanAttributes['gen_ai.operation.name'] AS Operation,
    span.SpanAttributes['gen_ai.agent.name'] AS AgentName,
    span.SpanAttributes['gen_ai.tool.name'] AS ToolName,
    span.SpanAttributes['gen_ai.workflow.name'] AS WorkflowName,
    span.SpanAttributes['otel_llm.interaction.id'] AS InteractionId,
    span.SpanAttributes['otel_llm.interaction.name'] AS InteractionName,
    mapApply((k, v) -> (substring(k, length('otel_llm.tag.') + 1), v),
        mapFilter((k, v) -> startsWith(k, 'otel_llm.tag.'), span.SpanAttributes)) AS Tags,
    toUInt64OrNull(span.SpanAttributes['otel_llm.interaction.steps']) AS Steps,
    toUInt64OrNull(span.SpanAttributes['otel_llm.interaction.fan_out']) AS FanOut,
    toUInt64OrNull(span.SpanAttributes['otel_llm.interaction.depth']) AS Depth,
    toUInt64OrNull(span.SpanAttributes['otel_llm.interaction.tool_calls']) AS ToolCalls,
    toUInt64OrNull(span.SpanAttributes['otel_llm.interaction.loops']) AS Loops,
    JSONExtract(span.SpanAttributes['otel_llm.interaction.looping_tools'], 'Array(String)') AS LoopingTools,
    toUInt64OrNull(span.SpanAttributes['otel_llm.interaction.resent_input_tokens']) AS ResentTokens,
    toUInt64OrNull(span.SpanAttributes['otel_llm.interaction.input_tokens']) AS BillInputTokens,
    span.SpanAttributes['http.request.method'] AS HttpMethod,
    span.SpanAttributes['http.route'] AS HttpRoute,
    span.SpanAttributes['http.response.status_code'] AS HttpStatus,
    span.`Events.Name` AS EventNames,
    span.`Events.Timestamp` AS EventTimes,
    span.`Events.Attributes` AS EventAttributes,
    call.SpanId != '' AS IsCall,
    span.SpanAttributes['otel_llm.layer'] = 'covered' AS IsCovered,
    call.Provider AS Provider,
    call.Model AS Model,
    call.InputTokens AS InputTokens,
    call.CacheReadTokens AS CacheReadTokens,
    call.CacheWriteTokens AS CacheWriteTokens,
    call.OutputTokens AS OutputTokens,
    call.ReasoningTokens AS ReasoningTokens,
    call.UsageSource AS UsageSource,
    call.TotalCost AS Cost,
    call.CostStatus AS CostStatus,
    call.CostSource AS CostSource,
    call.UnpricedReason AS UnpricedReason,
    call.PriceKey AS PriceKey,
    call.PriceVariant AS PriceVariant,
    call.PriceBook AS PriceBook,
    call.PriceValidFrom AS PriceValidFrom,
    call.PriceAdjusted AS PriceAdjusted,
    call.ServiceTier AS ServiceTier,
    call.Attempts AS Attempts,
    call.Streaming AS Streaming,
    call.StreamOutcome AS StreamOutcome,
    call.TtftNs AS TtftNs,
    call.FinishReason AS FinishReason,
    call.Layer AS Layer,
    call.Wasted AS Wasted
FROM otel_traces AS span
LEFT JOIN
(
    SELECT *, Model, Wasted FROM llm_calls FINAL WHERE TraceId IN (SELECT TraceId FROM traces)
) AS call ON span.TraceId = call.TraceId AND span.SpanId = call.SpanId
WHERE span.TraceId IN (SELECT TraceId FROM traces)
    AND (span.SpanAttributes['otel_llm.interaction.id'] = ''
        OR span.SpanAttributes['otel_llm.interaction.id'] IN (SELECT Id FROM family))
ORDER BY Timestamp, DurationNs DESC, SpanId
LIMIT 1 BY TraceId, SpanId

-- Calls, with what decides their price, and why they keep the cost that they have: '' when they can be priced anew to
-- the nano-dollar, because all that decided their price is in their row.
WITH
    if(PriceVariant IN ('', 'standard') AND NOT startsWith(UnpricedReason, 'variant:'), [], arrayFilter(
        word -> word NOT IN ('', 'standard', 'self_hosted', 'batch', lower(ServiceTier))
            AND NOT startsWith(word, '>') AND NOT match(word, '^[0-9:]+-[0-9:]+$'),
        splitByChar(' ', concat(PriceVariant, ' ',
            if(startsWith(UnpricedReason, 'variant:'), substring(UnpricedReason, 9), ''))))) AS not_in_the_row
SELECT
    Timestamp, ServiceName, Feature, InteractionId, TraceId, SpanId,
    Provider, Operation, RequestModel, ResponseModel, ServiceTier, Model, DurationNs, UsageSource, ToolRequests,
    UncachedInputTokens, CacheReadTokens, CacheWrite5mTokens, CacheWrite1hTokens, CacheWriteOtherTokens,
    InputAudioTokens, InputImageTokens, VisibleOutputTokens, ReasoningTokens, OutputAudioTokens, OutputImageTokens,
    InputCost, CacheReadCost, CacheWriteCost, OutputCost, OtherCost, TotalCost, Currency, CostStatus, CostSource,
    UnpricedReason, PriceKey, PriceVariant, PriceBook, PriceValidFrom, PriceAdjusted,
    coalesce(UncachedInputTokens, CacheReadTokens, CacheWrite5mTokens, CacheWrite1hTokens, CacheWriteOtherTokens,
        InputAudioTokens, InputImageTokens) IS NULL AS no_input,
    coalesce(VisibleOutputTokens, ReasoningTokens, OutputAudioTokens, OutputImageTokens) IS NULL AS no_output,
    multiIf(
        CostSource = 'provider', 'its provider said what it cost',
        CostSource = 'foreign', 'another instrumentation said what it cost',
        UsageSource = '', 'its usage is not known by bucket',
        no_input AND no_output AND empty(ToolRequests), 'its usage is unknown',
        position(PriceKey, ', ') > 0 OR position(PriceVariant, ', ') > 0, 'it was billed in parts',
        notEmpty(not_in_the_row), concat('the store does not hold what made it ', not_in_the_row[1]),
        '') AS KeptBecause
FROM llm_calls FINAL
WHERE ({since:Nullable(DateTime64(6, 'UTC'))} IS NULL OR Timestamp >= {since:Nullable(DateTime64(6, 'UTC'))})
    AND ({until:Nullable(DateTime64(6, 'UTC'))} IS NULL OR Timestamp < {until:Nullable(DateTime64(6, 'UTC'))})
    AND Provider ILIKE {provider:String}
    AND Model ILIKE {model:String}

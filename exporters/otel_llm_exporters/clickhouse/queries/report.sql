-- What calls cost, by dimensions: expressions that queries.py knows, never a person's words.
-- The quantiles are those of the cost of an interaction within its group; interactions without a cost are left out.
SELECT
    /* NAMES */
    sum(cost) AS Cost,
    sum(estimated) AS EstimatedCost,
    sum(calls) AS Calls,
    uniqExact(InteractionId) AS Interactions,
    quantileExact(0.5)(cost) AS CostP50,
    quantileExact(0.95)(cost) AS CostP95,
    sum(priced) AS PricedCalls,
    sum(partial) AS PartialCalls,
    PricedCalls / Calls AS CallCoverage,
    sum(priced_tokens) / nullIf(sum(tokens), 0) AS TokenCoverage,
    sum(input) AS InputTokens,
    sum(output) AS OutputTokens,
    sum(cache_read) AS CacheReadTokens,
    sum(errors) AS Errors,
    sum(wasted) AS WastedCalls,
    if(WastedCalls = 0, toDecimal128(0, 12), sum(wasted_cost)) AS WastedCost,
    sum(retries) AS Retries
FROM
(
    SELECT
        /* DIMENSIONS */
        InteractionId,
        sum(TotalCost) AS cost,
        if(countIf(UsageSource IN ('estimated', 'partial')) = 0, toDecimal128(0, 12),
            sumIf(TotalCost, UsageSource IN ('estimated', 'partial'))) AS estimated,
        count() AS calls,
        count(TotalCost) AS priced,
        countIf(CostStatus = 'partial') AS partial,
        sum(ifNull(InputTokens, 0) + ifNull(OutputTokens, 0)) AS tokens,
        sumIf(ifNull(InputTokens, 0) + ifNull(OutputTokens, 0), TotalCost IS NOT NULL) AS priced_tokens,
        sum(InputTokens) AS input,
        sum(OutputTokens) AS output,
        sum(CacheReadTokens) AS cache_read,
        countIf(Status = 'Error') AS errors,
        countIf(Wasted) AS wasted,
        sumIf(TotalCost, Wasted) AS wasted_cost,
        sum(Attempts) - count(Attempts) AS retries
    FROM attributed_calls /* OUTCOMES */
    WHERE ({user:String} = '' OR UserId = {user:String})
        AND ({feature:String} = '' OR Feature = {feature:String})
        AND ({since:Nullable(DateTime64(6))} IS NULL OR Timestamp >= {since:Nullable(DateTime64(6))})
        AND ({until:Nullable(DateTime64(6))} IS NULL OR Timestamp < {until:Nullable(DateTime64(6))})
    GROUP BY ALL
)
GROUP BY ALL
ORDER BY Cost DESC NULLS LAST, Calls DESC
LIMIT {limit:UInt64}

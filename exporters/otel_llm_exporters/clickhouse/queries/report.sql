-- What calls cost, by dimensions: expressions that queries.py knows, never a person's words.
-- The quantiles are those of the cost of an interaction within its group; interactions without a cost are left out.
WITH calls AS
(
    -- Millions of interactions: a number as the key takes half the time of the text.
    SELECT /* DIMENSIONS */ cityHash64(/* NAMES */ call.InteractionId) AS part, call.*, call.Wasted AS Wasted
    FROM llm_calls AS call FINAL
    /* OUTCOMES */
    /* IDENTITIES */
    WHERE ({user:String} = '' OR /* USER */ = {user:String})
        AND ({feature:String} = '' OR /* FEATURE */ = {feature:String})
        AND ({since:Nullable(DateTime64(6))} IS NULL OR call.Timestamp >= {since:Nullable(DateTime64(6))})
        AND ({until:Nullable(DateTime64(6))} IS NULL OR call.Timestamp < {until:Nullable(DateTime64(6))})
)
SELECT
    /* SUMS */
    Cost,
    EstimatedCost,
    Calls,
    Interactions,
    if(Known = 0, NULL, Quantiles[1]) AS CostP50,
    if(Known = 0, NULL, Quantiles[2]) AS CostP95,
    PricedCalls,
    PartialCalls,
    PricedCalls / Calls AS CallCoverage,
    PricedTokens / nullIf(Tokens, 0) AS TokenCoverage,
    InputTokens,
    OutputTokens,
    CacheReadTokens,
    Errors,
    WastedCalls,
    WastedCost,
    Retries/* UNATTRIBUTED */
FROM
(
    SELECT
        /* NAMES */
        sum(TotalCost) AS Cost,
        if(countIf(UsageSource IN ('estimated', 'partial')) = 0, toDecimal128(0, 12),
            sumIf(TotalCost, UsageSource IN ('estimated', 'partial'))) AS EstimatedCost,
        count() AS Calls,
        count(TotalCost) AS PricedCalls,
        countIf(CostStatus = 'partial') AS PartialCalls,
        sum(ifNull(calls.InputTokens, 0) + ifNull(calls.OutputTokens, 0)) AS Tokens,
        sumIf(ifNull(calls.InputTokens, 0) + ifNull(calls.OutputTokens, 0), TotalCost IS NOT NULL) AS PricedTokens,
        sum(calls.InputTokens) AS InputTokens,
        sum(calls.OutputTokens) AS OutputTokens,
        sum(calls.CacheReadTokens) AS CacheReadTokens,
        countIf(Status = 'Error') AS Errors,
        countIf(Wasted) AS WastedCalls,
        if(countIf(Wasted) = 0, toDecimal128(0, 12), sumIf(TotalCost, Wasted)) AS WastedCost,
        sum(Attempts) - count(Attempts) AS Retries
    FROM calls
    GROUP BY ALL
) AS sums
/* JOIN */ JOIN
(
    SELECT
        /* NAMES */
        count() AS Interactions,
        count(cost) AS Known,
        quantilesExact(0.5, 0.95)(cost) AS Quantiles
    FROM
    (
        SELECT /* ANY */ sum(TotalCost) AS cost
        FROM calls
        GROUP BY part
    )
    GROUP BY ALL
) AS parts /* USING */
ORDER BY Cost DESC NULLS LAST, Calls DESC
LIMIT {limit:UInt64}

-- Calls whose cost is unknown, or known in part only, by model and reason.
SELECT
    Provider,
    Model,
    CostStatus,
    UnpricedReason AS Reason,
    count() AS Calls,
    sum(InputTokens) AS InputTokens,
    sum(OutputTokens) AS OutputTokens,
    max(Timestamp) AS LastSeen
FROM llm_calls FINAL
WHERE (TotalCost IS NULL OR CostStatus = 'partial')
    AND ({user:String} = '' OR UserId = {user:String})
    AND ({feature:String} = '' OR Feature = {feature:String})
    AND ({since:Nullable(DateTime64(6))} IS NULL OR Timestamp >= {since:Nullable(DateTime64(6))})
    AND ({until:Nullable(DateTime64(6))} IS NULL OR Timestamp < {until:Nullable(DateTime64(6))})
GROUP BY ALL
ORDER BY Calls DESC, Provider, Model, Reason

-- Write what a revision changes into the calls of some days. Never an update: the higher revision wins.
INSERT INTO llm_calls
SELECT call.* REPLACE (
    change.Current.InputCost AS InputCost,
    change.Current.CacheReadCost AS CacheReadCost,
    change.Current.CacheWriteCost AS CacheWriteCost,
    change.Current.OutputCost AS OutputCost,
    change.Current.OtherCost AS OtherCost,
    change.Current.TotalCost AS TotalCost,
    change.Current.Currency AS Currency,
    change.Current.CostStatus AS CostStatus,
    change.Current.CostSource AS CostSource,
    change.Current.UnpricedReason AS UnpricedReason,
    change.Current.PriceKey AS PriceKey,
    change.Current.PriceVariant AS PriceVariant,
    change.Current.PriceBook AS PriceBook,
    change.Current.PriceValidFrom AS PriceValidFrom,
    change.Current.PriceAdjusted AS PriceAdjusted,
    {revision:UInt32} AS Revision)
FROM
(
    SELECT *
    FROM llm_calls FINAL
    WHERE Timestamp >= {start:DateTime64(6, 'UTC')} AND Timestamp < {end:DateTime64(6, 'UTC')}
) AS call
INNER JOIN
(
    SELECT *
    FROM reprice_changes
    WHERE Revision = {revision:UInt32}
        AND Timestamp >= {start:DateTime64(6, 'UTC')} AND Timestamp < {end:DateTime64(6, 'UTC')}
) AS change
ON call.ServiceName = change.ServiceName AND call.Feature = change.Feature
    AND call.InteractionId = change.InteractionId AND call.TraceId = change.TraceId AND call.SpanId = change.SpanId

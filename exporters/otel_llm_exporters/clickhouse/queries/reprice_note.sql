-- Note what a revision is about to change, and what it was before.
INSERT INTO reprice_changes
    (Revision, Timestamp, ServiceName, Feature, InteractionId, TraceId, SpanId, Former, Current)
SELECT
    {revision:UInt32}, Timestamp, ServiceName, Feature, InteractionId, TraceId, SpanId,
    (InputCost, CacheReadCost, CacheWriteCost, OutputCost, OtherCost, TotalCost, Currency, CostStatus, CostSource,
        UnpricedReason, PriceKey, PriceVariant, PriceBook, PriceValidFrom, PriceAdjusted),
    (NewInputCost, NewCacheReadCost, NewCacheWriteCost, NewOutputCost, NewOtherCost, NewTotalCost, NewCurrency,
        NewCostStatus, NewCostSource, NewUnpricedReason, NewPriceKey, NewPriceVariant, NewPriceBook,
        NewPriceValidFrom, NewPriceAdjusted)
FROM
(
    /* include repriced */
)
WHERE Changed AND UnknownBecause = ''

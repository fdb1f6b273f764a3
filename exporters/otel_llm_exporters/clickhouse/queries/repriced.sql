-- What calls cost by one list of prices (New...), beside what they cost so far. The arithmetic is that of
-- otel_llm/pricing/card.py: whole pico-dollars are added up, scaled by discounts, and rounded once, half up, to
-- nano-dollars; running sums are rounded, so that the parts add up to the total.
WITH
    nano -> toDecimal64(nano, 0) * toDecimal64('0.000000001', 9) AS usd
SELECT
    *,
    if(known AND nano1 != 0, usd(nano1), NULL) AS NewInputCost,
    if(known AND nano2 != nano1, usd(nano2 - nano1), NULL) AS NewCacheReadCost,
    if(known AND nano3 != nano2, usd(nano3 - nano2), NULL) AS NewCacheWriteCost,
    if(known AND nano4 != nano3, usd(nano4 - nano3), NULL) AS NewOutputCost,
    if(known AND nano5 != nano4, usd(nano5 - nano4), NULL) AS NewOtherCost,
    if(known, usd(nano5), NULL) AS NewTotalCost,
    if(known, 'USD', '') AS NewCurrency,
    if(known, 'local', '') AS NewCostSource,
    if(known, variant, '') AS NewPriceVariant,
    -- The same money by another book is no change.
    NewCostStatus != CostStatus
        OR NewUnpricedReason != UnpricedReason
        OR ifNull(NewTotalCost, -1) != ifNull(TotalCost, -1)
        OR ifNull(NewInputCost, 0) != ifNull(InputCost, 0)
        OR ifNull(NewCacheReadCost, 0) != ifNull(CacheReadCost, 0)
        OR ifNull(NewCacheWriteCost, 0) != ifNull(CacheWriteCost, 0)
        OR ifNull(NewOutputCost, 0) != ifNull(OutputCost, 0)
        OR ifNull(NewOtherCost, 0) != ifNull(OtherCost, 0) AS Changed
FROM
(
    SELECT
        *,
        multiIf(
            kind = 'unpriced' OR kind = 'machine' AND DurationNs = 0 OR lacking != '' AND pico5 = 0, 'unpriced',
            kind = 'free' OR kind = 'machine' AND per_hour = 0, 'free',
            lacking != '' OR cut_short, 'partial',
            'priced') AS NewCostStatus,
        multiIf(
            kind = 'unpriced', reason,
            kind = 'machine' AND DurationNs = 0, 'no_duration',
            cut_short AND NewCostStatus = 'partial', if(lacking = '', 'partial_usage', concat(lacking, ',partial_usage')),
            lacking) AS NewUnpricedReason,
        NewCostStatus != 'unpriced' AS known,
        kind = 'tokens' AND UsageSource = 'partial' AS cut_short,
        toInt64(intDiv(pico1 * tokens_times + 500 * over, 1000 * over)) AS nano1,
        toInt64(intDiv(pico2 * tokens_times + 500 * over, 1000 * over)) AS nano2,
        toInt64(intDiv(pico3 * tokens_times + 500 * over, 1000 * over)) AS nano3,
        toInt64(intDiv(pico4 * tokens_times + 500 * over, 1000 * over)) AS nano4,
        if(kind = 'machine',
            toInt64(intDiv(toInt128(per_hour) * DurationNs + intDiv(hour, 2), hour)),
            toInt64(intDiv(pico4 * tokens_times + (pico5 - pico4) * fees_times + 500 * over, 1000 * over))) AS nano5
    FROM
    (
        SELECT
            Timestamp, ServiceName, Feature, InteractionId, TraceId, SpanId, Provider, Model, DurationNs, UsageSource,
            InputCost, CacheReadCost, CacheWriteCost, OutputCost, OtherCost, TotalCost, Currency, CostStatus,
            CostSource, UnpricedReason, PriceKey, PriceVariant, PriceBook, PriceValidFrom, PriceAdjusted,
            price.Kind AS kind,
            price.Reason AS reason,
            if(kind = 'unknown', reason, '') AS UnknownBecause,
            price.PriceVariant AS variant,
            price.PriceKey AS NewPriceKey,
            price.PriceValidFrom AS NewPriceValidFrom,
            price.PriceAdjusted AS NewPriceAdjusted,
            if(empty(ToolRequests) AND empty(price.AdjustedBy), price.Book, arrayStringConcat(
                arrayFilter(book -> book != '', arrayDistinct(arrayConcat([price.Book],
                    arrayMap(tool -> price.FeeBooks[tool], mapKeys(ToolRequests)), price.AdjustedBy))), ' '))
                AS NewPriceBook,
            toInt128(price.TokensTimes) AS tokens_times,
            toInt128(price.FeesTimes) AS fees_times,
            toInt128(price.Over) AS over,
            price.PerHour AS per_hour,
            toInt128(3600000000000000) * price.Concurrency AS hour,

            toInt128(ifNull(UncachedInputTokens, 0)) * ifNull(price.Input, 0)
                + toInt128(ifNull(InputAudioTokens, 0)) * ifNull(price.InputAudio, 0)
                + toInt128(ifNull(InputImageTokens, 0)) * ifNull(price.InputImage, 0) AS pico1,
            pico1 + toInt128(ifNull(CacheReadTokens, 0)) * ifNull(price.CacheRead, 0) AS pico2,
            pico2 + toInt128(ifNull(CacheWrite5mTokens, 0)) * ifNull(price.CacheWrite5m, 0)
                + toInt128(ifNull(CacheWrite1hTokens, 0)) * ifNull(price.CacheWrite1h, 0)
                + toInt128(ifNull(CacheWriteOtherTokens, 0)) * ifNull(price.CacheWriteOther, 0) AS pico3,
            pico3 + toInt128(ifNull(VisibleOutputTokens, 0)) * ifNull(price.Output, 0)
                + toInt128(ifNull(ReasoningTokens, 0)) * ifNull(price.Reasoning, 0)
                + toInt128(ifNull(OutputAudioTokens, 0)) * ifNull(price.OutputAudio, 0)
                + toInt128(ifNull(OutputImageTokens, 0)) * ifNull(price.OutputImage, 0) AS pico4,
            pico4 + price.Request + if(empty(ToolRequests), 0, arraySum(
                (tool, count) -> toInt128(count) * price.Fees[tool], mapKeys(ToolRequests), mapValues(ToolRequests)))
                AS pico5,
            -- Hardly ever; and asking is much cheaper than making the list of what lacks.
            kind = 'tokens' AND (notEmpty(ToolRequests) OR no_input OR no_output AND generates
                OR UncachedInputTokens > 0 AND price.Input IS NULL
                OR CacheReadTokens > 0 AND price.CacheRead IS NULL
                OR CacheWrite5mTokens > 0 AND price.CacheWrite5m IS NULL
                OR CacheWrite1hTokens > 0 AND price.CacheWrite1h IS NULL
                OR CacheWriteOtherTokens > 0 AND price.CacheWriteOther IS NULL
                OR InputAudioTokens > 0 AND price.InputAudio IS NULL
                OR InputImageTokens > 0 AND price.InputImage IS NULL
                OR VisibleOutputTokens > 0 AND price.Output IS NULL
                OR ReasoningTokens > 0 AND price.Reasoning IS NULL
                OR OutputAudioTokens > 0 AND price.OutputAudio IS NULL
                OR OutputImageTokens > 0 AND price.OutputImage IS NULL) AS may_lack,
            if(NOT ifNull(may_lack, false), '', arrayStringConcat(arrayFilter(word -> word != '', [
                if(UncachedInputTokens > 0 AND price.Input IS NULL, 'no_price_for:input', ''),
                if(CacheReadTokens > 0 AND price.CacheRead IS NULL, 'no_price_for:cache_read', ''),
                if(CacheWrite5mTokens > 0 AND price.CacheWrite5m IS NULL, 'no_price_for:cache_write_5m', ''),
                if(CacheWrite1hTokens > 0 AND price.CacheWrite1h IS NULL, 'no_price_for:cache_write_1h', ''),
                if(CacheWriteOtherTokens > 0 AND price.CacheWriteOther IS NULL, 'no_price_for:cache_write_other', ''),
                if(InputAudioTokens > 0 AND price.InputAudio IS NULL, 'no_price_for:input_audio', ''),
                if(InputImageTokens > 0 AND price.InputImage IS NULL, 'no_price_for:input_image', ''),
                if(VisibleOutputTokens > 0 AND price.Output IS NULL, 'no_price_for:output', ''),
                if(ReasoningTokens > 0 AND price.Reasoning IS NULL, 'no_price_for:reasoning', ''),
                if(OutputAudioTokens > 0 AND price.OutputAudio IS NULL, 'no_price_for:output_audio', ''),
                if(OutputImageTokens > 0 AND price.OutputImage IS NULL, 'no_price_for:output_image', ''),
                arrayStringConcat(arrayMap(tool -> concat('no_price_for:', tool), arrayFilter(
                    (tool, count) -> count > 0 AND NOT mapContains(price.Fees, tool),
                    mapKeys(ToolRequests), mapValues(ToolRequests))), ','),
                multiIf(
                    no_input AND no_output AND generates, 'no_usage',
                    no_input AND (generates OR empty(ToolRequests)), 'no_usage_for:input',
                    no_output AND generates, 'no_usage_for:output',
                    '')
            ]), ',')) AS lacking,
            Operation IN ('chat', 'text_completion', 'generate_content') AS generates
        FROM
        (
            SELECT
                -- A join copies plain text several times faster than LowCardinality.
                * REPLACE (
                    toString(ServiceName) AS ServiceName, toString(Feature) AS Feature,
                    toString(Provider) AS Provider, toString(Operation) AS Operation,
                    toString(RequestModel) AS RequestModel, toString(ResponseModel) AS ResponseModel,
                    toString(ServiceTier) AS ServiceTier, toString(UsageSource) AS UsageSource,
                    toString(Currency) AS Currency, toString(CostStatus) AS CostStatus,
                    toString(CostSource) AS CostSource, toString(UnpricedReason) AS UnpricedReason,
                    toString(PriceKey) AS PriceKey, toString(PriceVariant) AS PriceVariant,
                    toString(PriceBook) AS PriceBook, toString(PriceValidFrom) AS PriceValidFrom,
                    toString(PriceAdjusted) AS PriceAdjusted),
                ifNull(UncachedInputTokens, 0) + ifNull(CacheReadTokens, 0) + ifNull(CacheWrite5mTokens, 0)
                    + ifNull(CacheWrite1hTokens, 0) + ifNull(CacheWriteOtherTokens, 0) + ifNull(InputAudioTokens, 0)
                    + ifNull(InputImageTokens, 0) AS input,
                toDate(Timestamp, 'UTC') AS day,
                toUnixTimestamp64Micro(Timestamp) % 86400000000 AS clock
            FROM
            (
                /* include repriceable */
            )
            WHERE KeptBecause = ''
        ) AS call
        INNER JOIN
        (
            SELECT *
            FROM (SELECT * FROM price_terms FINAL WHERE PriceList = {list:String}) AS terms
            INNER JOIN (SELECT * FROM price_book FINAL) AS book ON terms.Terms = book.Terms
        ) AS price
        ON call.Provider = price.Provider AND call.Operation = price.Operation
            AND call.RequestModel = price.RequestModel AND call.ResponseModel = price.ResponseModel
            AND call.ServiceTier = price.ServiceTier
        WHERE day >= price.ValidFrom AND day < price.ValidUntil
            AND clock >= price.DailyFrom AND clock < price.DailyUntil
            AND input >= price.InputFrom AND input < price.InputUntil
    )
)

-- Prices as rows: one per price that a call can have. All rows of one `Terms` together say what calls on these terms
-- cost at any time: each call falls into exactly one stretch of days, one of the day, and one of its input tokens.
-- From is inclusive, Until exclusive. `Terms` is made of what its rows say, so a row never changes, and none is deleted.
-- Prices are pico-USD (1e-12) per token, request or hour. One that does not exist is NULL; 0 is a price.
CREATE TABLE IF NOT EXISTS price_book
(
    Terms             String,
    ValidFrom         Date,
    ValidUntil        Date,
    DailyFrom         UInt64 COMMENT 'microseconds of the UTC day',
    DailyUntil        UInt64,
    InputFrom         UInt64 COMMENT 'all input tokens of the call, cache included',
    InputUntil        UInt64,
    Kind              String COMMENT 'tokens, machine, free, unpriced, or unknown: the store does not hold what decides it',
    Reason            String COMMENT 'why it is unpriced or unknown',
    Book              String,
    AdjustedBy        Array(String) COMMENT 'further books, of the adjustments',
    PriceKey          String,
    PriceVariant      String,
    PriceValidFrom    String,
    PriceAdjusted     String,
    Input             Nullable(UInt64),
    CacheRead         Nullable(UInt64),
    CacheWrite5m      Nullable(UInt64),
    CacheWrite1h      Nullable(UInt64),
    CacheWriteOther   Nullable(UInt64),
    InputAudio        Nullable(UInt64),
    InputImage        Nullable(UInt64),
    Output            Nullable(UInt64),
    Reasoning         Nullable(UInt64),
    OutputAudio       Nullable(UInt64),
    OutputImage       Nullable(UInt64),
    Request           UInt64 COMMENT 'once per call',
    Fees              Map(String, UInt64) COMMENT 'per use of a tool',
    FeeBooks          Map(String, String) COMMENT 'of the fees that are in none of the other books',
    TokensTimes       UInt64 COMMENT 'what tokens cost is multiplied by TokensTimes / Over',
    FeesTimes         UInt64,
    Over              UInt64,
    PerHour           UInt64 COMMENT 'of the machines, shared by Concurrency calls',
    Concurrency       UInt32,
    AddedAt           DateTime DEFAULT now()
)
ENGINE = ReplacingMergeTree
ORDER BY (Terms, ValidFrom, DailyFrom, InputFrom);

-- Which terms the names of a call come to, by one list of prices: the versions of all its books.
CREATE TABLE IF NOT EXISTS price_terms
(
    PriceList     String,
    Provider      String,
    Operation     String,
    RequestModel  String,
    ResponseModel String,
    ServiceTier   String,
    Terms         String,
    ResolvedAt    DateTime64(6) DEFAULT now64(6)
)
ENGINE = ReplacingMergeTree(ResolvedAt)
ORDER BY (PriceList, Provider, Operation, RequestModel, ResponseModel, ServiceTier);

-- Every time that calls were priced anew: by which list, which of them, and to which end. `Reverts` names the revision
-- that it takes back, 0 when none. One that was begun and never done is in force as far as it came; revert it, or run
-- it again.
CREATE TABLE IF NOT EXISTS reprice_revisions
(
    Revision  UInt32,
    State     Enum8('begun' = 0, 'done' = 1),
    At        DateTime64(6) DEFAULT now64(6),
    Claim     UUID COMMENT 'of two that begin at once, the lower one has the revision',
    PriceList String,
    Since     Nullable(DateTime64(6)),
    Until     Nullable(DateTime64(6)),
    Provider  String,
    Model     String,
    Reverts   UInt32,
    Calls     UInt64
)
ENGINE = MergeTree
ORDER BY (Revision, State);

-- What each revision changed in `llm_calls`, so that it can be taken back.
CREATE TABLE IF NOT EXISTS reprice_changes
(
    Revision      UInt32,
    Timestamp     DateTime64(9) CODEC(Delta(8), ZSTD(1)),
    ServiceName   LowCardinality(String),
    Feature       LowCardinality(String),
    InteractionId String CODEC(ZSTD(1)),
    TraceId       String CODEC(ZSTD(1)),
    SpanId        String CODEC(ZSTD(1)),
    Former        Tuple(
        InputCost Nullable(Decimal(18, 12)), CacheReadCost Nullable(Decimal(18, 12)),
        CacheWriteCost Nullable(Decimal(18, 12)), OutputCost Nullable(Decimal(18, 12)),
        OtherCost Nullable(Decimal(18, 12)), TotalCost Nullable(Decimal(18, 12)),
        Currency LowCardinality(String), CostStatus LowCardinality(String), CostSource LowCardinality(String),
        UnpricedReason LowCardinality(String), PriceKey LowCardinality(String), PriceVariant LowCardinality(String),
        PriceBook LowCardinality(String), PriceValidFrom LowCardinality(String), PriceAdjusted LowCardinality(String))
        CODEC(ZSTD(1)),
    Current       Tuple(
        InputCost Nullable(Decimal(18, 12)), CacheReadCost Nullable(Decimal(18, 12)),
        CacheWriteCost Nullable(Decimal(18, 12)), OutputCost Nullable(Decimal(18, 12)),
        OtherCost Nullable(Decimal(18, 12)), TotalCost Nullable(Decimal(18, 12)),
        Currency LowCardinality(String), CostStatus LowCardinality(String), CostSource LowCardinality(String),
        UnpricedReason LowCardinality(String), PriceKey LowCardinality(String), PriceVariant LowCardinality(String),
        PriceBook LowCardinality(String), PriceValidFrom LowCardinality(String), PriceAdjusted LowCardinality(String))
        CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(Timestamp)
ORDER BY (Revision, toDate(Timestamp), ServiceName, Feature, InteractionId, TraceId, SpanId)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

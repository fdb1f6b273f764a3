-- What `otel-llm forget` is replacing at this moment; empty when it is done. If it was broken off, the next run goes on
-- from here.
CREATE TABLE IF NOT EXISTS forgetting
(
    Pseudonym String,
    Kind      Enum8('user' = 0, 'session' = 1),
    Id        String
)
ENGINE = ReplacingMergeTree
ORDER BY (Pseudonym, Kind, Id)

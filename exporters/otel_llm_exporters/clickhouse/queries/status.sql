-- How much the store holds, in one row.
SELECT
    (SELECT count() FROM otel_traces) AS Spans,
    count() AS Calls,
    count(TotalCost) AS PricedCalls,
    uniqExact(InteractionId) AS Interactions,
    minOrNull(Timestamp) AS FirstCall,
    maxOrNull(Timestamp) AS LastCall,
    (SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase()) AS Bytes,
    (SELECT max(Version) FROM schema_migrations) AS SchemaVersion
FROM llm_calls FINAL

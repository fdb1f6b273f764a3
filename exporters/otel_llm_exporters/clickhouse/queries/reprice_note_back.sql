-- Note how to take a revision back, in the calls of some days that no later revision has changed.
INSERT INTO reprice_changes
    (Revision, Timestamp, ServiceName, Feature, InteractionId, TraceId, SpanId, Former, Current)
SELECT
    {revision:UInt32}, change.Timestamp, change.ServiceName, change.Feature, change.InteractionId, change.TraceId,
    change.SpanId, change.Current, change.Former
FROM
(
    SELECT *
    FROM reprice_changes
    WHERE Revision = {reverted:UInt32}
        AND Timestamp >= {start:DateTime64(6, 'UTC')} AND Timestamp < {end:DateTime64(6, 'UTC')}
) AS change
INNER JOIN
(
    SELECT ServiceName, Feature, InteractionId, TraceId, SpanId, Revision
    FROM llm_calls FINAL
    WHERE Timestamp >= {start:DateTime64(6, 'UTC')} AND Timestamp < {end:DateTime64(6, 'UTC')}
) AS call
ON call.ServiceName = change.ServiceName AND call.Feature = change.Feature
    AND call.InteractionId = change.InteractionId AND call.TraceId = change.TraceId AND call.SpanId = change.SpanId
WHERE call.Revision = {reverted:UInt32}

-- Everything that is known of the calls of one interaction.
SELECT *
FROM attributed_calls
WHERE InteractionId = {id:String}
ORDER BY Timestamp, SpanId

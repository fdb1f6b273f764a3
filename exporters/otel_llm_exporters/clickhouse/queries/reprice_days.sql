-- How many calls a revision changes, by day.
SELECT toDateTime(toDate(Timestamp, 'UTC'), 'UTC') AS Day, count() AS Calls
FROM reprice_changes
WHERE Revision = {revision:UInt32}
GROUP BY Day
ORDER BY Day

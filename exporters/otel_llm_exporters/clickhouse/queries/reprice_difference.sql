-- What pricing calls by a list would change, by model.
SELECT
    Provider,
    Model,
    count() AS Calls,
    countIf(Changed) AS Changed,
    sum(TotalCost) AS OldCost,
    sum(NewTotalCost) AS NewCost,
    countIf(TotalCost IS NULL AND NewTotalCost IS NOT NULL) AS NewlyPriced,
    countIf(TotalCost IS NOT NULL AND NewTotalCost IS NULL) AS NoLongerPriced
FROM
(
    /* include repriced */
)
WHERE UnknownBecause = ''
GROUP BY Provider, Model
ORDER BY Changed DESC, Calls DESC, Provider, Model

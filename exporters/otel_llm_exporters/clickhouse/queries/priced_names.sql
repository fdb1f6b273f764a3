-- The names that the prices of calls depend on.
SELECT DISTINCT Provider, Operation, RequestModel, ResponseModel, ServiceTier
FROM
(
    /* include repriceable */
)
WHERE KeptBecause = ''
ORDER BY ALL

-- Calls that keep the cost that they have, by reason.
SELECT Reason, sum(Count) AS Calls, sum(Usd) AS Cost
FROM
(
    SELECT KeptBecause AS Reason, count() AS Count, sum(TotalCost) AS Usd
    FROM
    (
        /* include repriceable */
    )
    GROUP BY Reason
    UNION ALL
    SELECT UnknownBecause AS Reason, count() AS Count, sum(TotalCost) AS Usd
    FROM
    (
        /* include repriced */
    )
    GROUP BY Reason
)
WHERE Reason != ''
GROUP BY Reason
ORDER BY Calls DESC, Reason

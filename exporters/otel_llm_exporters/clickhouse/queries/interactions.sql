-- Interactions, the latest or the costliest first.
SELECT *
FROM interactions
WHERE startsWith(InteractionId, {prefix:String})
    AND ({user:String} = '' OR UserId = {user:String})
    AND ({feature:String} = '' OR Feature = {feature:String})
    AND ({since:Nullable(DateTime64(6))} IS NULL OR Start >= {since:Nullable(DateTime64(6))})
    AND ({until:Nullable(DateTime64(6))} IS NULL OR Start < {until:Nullable(DateTime64(6))})/* CANDIDATES */
ORDER BY if({costliest:Bool}, Cost, NULL) DESC NULLS LAST, Start DESC, InteractionId
LIMIT {limit:UInt64}

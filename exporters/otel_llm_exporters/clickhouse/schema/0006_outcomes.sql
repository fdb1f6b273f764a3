-- What became of interactions, as it was said last; it may be said again, later, and by another process.
CREATE VIEW IF NOT EXISTS interaction_outcomes AS
SELECT
    InteractionId,
    argMax(Outcome, (Ended, TraceId, SpanId)) AS Outcome,
    argMax(tuple(Success), (Ended, TraceId, SpanId)).1 AS Success,
    max(Ended) AS ReportedAt,
    count() AS Reports
FROM interaction_roots FINAL
WHERE interaction_roots.Outcome != ''
GROUP BY InteractionId;

-- One row per interaction that has an outcome, with what it cost. One of which no call is known has no cost, and NULL
-- for its start: its calls may still come, its id may be wrong, or it needed none.
CREATE VIEW IF NOT EXISTS outcomes AS
SELECT
    said.InteractionId AS InteractionId,
    whole.InteractionName AS InteractionName,
    whole.UserId AS UserId,
    whole.SessionId AS SessionId,
    whole.Feature AS Feature,
    whole.Tenant AS Tenant,
    whole.Endpoint AS Endpoint,
    said.Outcome AS Outcome,
    said.Success AS Success,
    said.ReportedAt AS ReportedAt,
    said.Reports AS Reports,
    if(whole.Calls > 0, whole.Start, NULL) AS Start,
    whole.Calls AS Calls,
    whole.PricedCalls AS PricedCalls,
    whole.Cost AS Cost
FROM interaction_outcomes AS said
LEFT JOIN interactions AS whole ON said.InteractionId = whole.InteractionId;

-- What an outcome costs, by feature and name of the interaction. An outcome that nobody reported is empty.
-- CostPerSuccess is that of the feature and name as a whole: all that was spent on it, on failures and on tries of
-- which nothing was reported, too, for each success.
CREATE VIEW IF NOT EXISTS cost_per_outcome AS
SELECT
    Feature,
    InteractionName,
    Outcome,
    Success,
    count() AS Interactions,
    sum(Calls) AS Calls,
    sum(PricedCalls) AS PricedCalls,
    sum(Cost) AS Cost,
    Cost / Interactions AS CostPerInteraction,
    sum(sum(interactions.Cost)) OVER whole / nullIf(sum(countIf(Success = true)) OVER whole, 0) AS CostPerSuccess
FROM interactions
GROUP BY Feature, InteractionName, Outcome, Success
WINDOW whole AS (PARTITION BY Feature, InteractionName)

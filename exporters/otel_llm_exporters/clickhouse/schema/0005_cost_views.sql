-- What calls cost per day (UTC), by whom and by what: for dashboards and spreadsheets. Each is the sum of all calls, so
-- that the rows of a view add up to the bill; what nobody is named for has an empty name. Cost is NULL where no call of
-- the row has one, and `PricedCalls` of `Calls` is how much of it is known.
-- A question for some days is quick when it says so: WHERE Day >= today() - 7.
CREATE VIEW IF NOT EXISTS cost_by_day AS
SELECT
    toDate(Timestamp) AS Day,
    sum(TotalCost) AS Cost,
    count() AS Calls,
    count(TotalCost) AS PricedCalls,
    uniqExact(cityHash64(InteractionId)) AS Interactions,
    sum(InputTokens) AS InputTokens,
    sum(OutputTokens) AS OutputTokens,
    sum(CacheReadTokens) AS CacheReadTokens,
    countIf(Status = 'Error') AS Errors
FROM llm_calls FINAL
GROUP BY Day;

CREATE VIEW IF NOT EXISTS cost_by_user AS
SELECT
    toDate(call.Timestamp) AS Day,
    if(call.UserId != '', call.UserId, whole.UserId) AS UserId,
    sum(TotalCost) AS Cost,
    count() AS Calls,
    count(TotalCost) AS PricedCalls,
    uniqExact(cityHash64(call.InteractionId)) AS Interactions,
    sum(InputTokens) AS InputTokens,
    sum(OutputTokens) AS OutputTokens,
    sum(CacheReadTokens) AS CacheReadTokens,
    countIf(Status = 'Error') AS Errors
FROM llm_calls AS call FINAL
LEFT JOIN
(
    SELECT InteractionId, UserId
    FROM interaction_identities
    WHERE InteractionId IN (SELECT InteractionId FROM llm_calls WHERE UserId = '')
) AS whole ON if(call.UserId = '', call.InteractionId, '') = whole.InteractionId
GROUP BY Day, UserId;

CREATE VIEW IF NOT EXISTS cost_by_feature AS
SELECT
    toDate(call.Timestamp) AS Day,
    if(call.Feature != '', call.Feature, whole.Feature) AS Feature,
    sum(TotalCost) AS Cost,
    count() AS Calls,
    count(TotalCost) AS PricedCalls,
    uniqExact(cityHash64(call.InteractionId)) AS Interactions,
    sum(InputTokens) AS InputTokens,
    sum(OutputTokens) AS OutputTokens,
    sum(CacheReadTokens) AS CacheReadTokens,
    countIf(Status = 'Error') AS Errors
FROM llm_calls AS call FINAL
LEFT JOIN
(
    SELECT InteractionId, Feature
    FROM interaction_identities
    WHERE InteractionId IN (SELECT InteractionId FROM llm_calls WHERE Feature = '')
) AS whole ON if(call.Feature = '', call.InteractionId, '') = whole.InteractionId
GROUP BY Day, Feature;

CREATE VIEW IF NOT EXISTS cost_by_endpoint AS
SELECT
    toDate(call.Timestamp) AS Day,
    call.ServiceName AS ServiceName,
    if(call.Endpoint != '', call.Endpoint, whole.Endpoint) AS Endpoint,
    sum(TotalCost) AS Cost,
    count() AS Calls,
    count(TotalCost) AS PricedCalls,
    uniqExact(cityHash64(call.InteractionId)) AS Interactions,
    sum(InputTokens) AS InputTokens,
    sum(OutputTokens) AS OutputTokens,
    sum(CacheReadTokens) AS CacheReadTokens,
    countIf(Status = 'Error') AS Errors
FROM llm_calls AS call FINAL
LEFT JOIN
(
    SELECT InteractionId, Endpoint
    FROM interaction_identities
    WHERE InteractionId IN (SELECT InteractionId FROM llm_calls WHERE Endpoint = '')
) AS whole ON if(call.Endpoint = '', call.InteractionId, '') = whole.InteractionId
GROUP BY Day, ServiceName, Endpoint;

CREATE VIEW IF NOT EXISTS cost_by_model AS
SELECT
    toDate(Timestamp) AS Day,
    Provider,
    Model,
    sum(TotalCost) AS Cost,
    count() AS Calls,
    count(TotalCost) AS PricedCalls,
    uniqExact(cityHash64(InteractionId)) AS Interactions,
    sum(InputTokens) AS InputTokens,
    sum(OutputTokens) AS OutputTokens,
    sum(CacheReadTokens) AS CacheReadTokens,
    countIf(Status = 'Error') AS Errors
FROM llm_calls FINAL
GROUP BY Day, Provider, Model;

CREATE VIEW IF NOT EXISTS cost_by_agent AS
SELECT
    toDate(Timestamp) AS Day,
    ServiceName,
    AgentName,
    sum(TotalCost) AS Cost,
    count() AS Calls,
    count(TotalCost) AS PricedCalls,
    uniqExact(cityHash64(InteractionId)) AS Interactions,
    sum(InputTokens) AS InputTokens,
    sum(OutputTokens) AS OutputTokens,
    sum(CacheReadTokens) AS CacheReadTokens,
    countIf(Status = 'Error') AS Errors
FROM llm_calls FINAL
GROUP BY Day, ServiceName, AgentName;

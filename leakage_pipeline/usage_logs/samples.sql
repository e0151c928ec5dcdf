-- Examples of rows that do not count for one reason.
with events as ({events})

select
    coalesce(event_id, md5(payload)) as sample_key,
    payload
from events
where reason = {reason}
limit {limit}

-- One row per row of the source table: exact values, and the reason when it does not count.
select
    typed.*,
    case
        when event_id is null or btrim(event_id) = '' then 'missing event_id'
        when customer_ref is null or btrim(customer_ref) = '' then 'missing customer_id'
        when meter is null or btrim(meter) = '' then 'missing meter'
        when value is null then 'bad value'
        when value < 0 then 'negative value'
        when occurred_us is null or occurred_us < {earliest_us} then 'bad occurred_at'
        when occurred_us > {as_of_us} and received_us <= {as_of_us}
            then 'occurred_at after as_of, received before'
        when occurred_us > {as_of_us} then 'occurred_at after as_of'
        when received_us > {as_of_us} then 'received_at after as_of'
    end as reason
from (
    select
        cast({event_id} as text) as event_id,
        cast({customer_id} as text) as customer_ref,
        cast({meter} as text) as meter,
        coalesce(cast({source} as text), '') as source,
        {value} as value,
        {occurred_us} as occurred_us,
        {received_us} as received_us,
        {payload} as payload
    from {table}
) as typed

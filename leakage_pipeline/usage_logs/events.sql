-- One row per row of the source table: exact values, and the reason when it does not count.
select
    typed.*,
    0 as source_order,
    case
        when event_id is null or trim(event_id) = '' then 'missing event_id'
        when customer_ref is null or trim(customer_ref) = '' then 'missing customer_id'
        when meter is null or trim(meter) = '' then 'missing meter'
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
        {event_id} as event_id,
        {customer_id} as customer_ref,
        {meter} as meter,
        coalesce({source}, '') as source,
        {value} as value,
        {occurred_us} as occurred_us,
        {received_us} as received_us,
        {payload} as payload
    from {table}
) as typed

-- Instants at which a customer's usage day is cut, because billing is cut there: periods, trials and subscriptions.
select distinct
    customer_id,
    cut_at
from (
    select
        customer_id,
        period_start as cut_at
    from {{ ref('int_periods__item_periods') }}
    union all
    select
        customer_id,
        period_end as cut_at
    from {{ ref('int_periods__item_periods') }}
    union all
    select
        customer_id,
        trial_started_at as cut_at
    from {{ ref('int_periods__items') }}
    union all
    select
        customer_id,
        trial_ended_at as cut_at
    from {{ ref('int_periods__items') }}
    union all
    select
        customer_id,
        ended_at as cut_at
    from {{ ref('int_periods__items') }}
    union all
    select
        customer_id,
        billed_from as cut_at
    from {{ ref('int_periods__items') }}
) as instants
where cut_at is not null

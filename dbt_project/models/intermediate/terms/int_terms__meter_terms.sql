-- What contracts and price book rows say about each meter, under the meter's name at Stripe.
select
    terms.term_kind,
    terms.term_id,
    coalesce(mappings.stripe_event_name, terms.meter) as stripe_event_name,
    min(terms.meter) as meter,
    max(terms.included_quantity) as included_quantity,
    max(case when terms.has_rate then terms.term_kind || ':' || terms.term_id || ':' || terms.meter end) as rate_id
from {{ ref('stg_business__term_meters') }} as terms
left join {{ ref('stg_business__meter_mappings') }} as mappings on terms.meter = mappings.meter
group by terms.term_kind, terms.term_id, coalesce(mappings.stripe_event_name, terms.meter)

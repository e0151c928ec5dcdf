select
    -- ids
    credit_note_id,
    invoice_id,
    customer_id,
    -- attributes
    status,
    type as credit_note_type,
    reason,
    payload #>> '{metadata,leakage_action}' as action_id,
    payload #>> '{metadata,leakage_type}' as corrected_type,
    lower(currency) as currency,
    -- amounts in minor units
    amount,
    subtotal,
    total,
    coalesce((
        select sum(taxes.amount::bigint)
        from
            jsonb_path_query(credit_notes.payload, '$.total_taxes[*] ? (@.tax_behavior == "exclusive").amount')
                as taxes (amount)
    ), 0) as total_exclusive_tax,
    pre_payment_amount,
    post_payment_amount,
    out_of_band_amount,
    -- timestamps
    created as created_at,
    effective_at,
    voided_at
from {{ source('raw_stripe', 'credit_notes') }} as credit_notes

select
    -- ids
    invoice_item_id,
    customer_id,
    invoice_id,
    subscription_id,
    subscription_item_id,
    price_id,
    -- attributes
    lower(currency) as currency,
    is_proration,
    discountable as is_discountable,
    metadata,
    -- amounts and quantities
    amount,
    quantity,
    -- timestamps
    period_start,
    period_end,
    date as created_at
from {{ source('raw_stripe', 'invoice_items') }}

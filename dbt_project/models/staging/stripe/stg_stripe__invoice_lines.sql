select
    -- ids
    line_id,
    invoice_id,
    line_index,
    subscription_id,
    subscription_item_id,
    invoice_item_id,
    price_id,
    product_id,
    -- attributes
    parent_type,
    lower(currency) as currency,
    quantity,
    unit_amount_decimal,
    is_proration,
    nullif(credited_items, 'null'::jsonb) as credited_items,
    description,
    discountable as is_discountable,
    metadata,
    -- amounts in minor units
    amount,
    subtotal,
    discount_amount,
    credit_balance_amount,
    exclusive_tax,
    inclusive_tax,
    -- timestamps
    period_start,
    period_end
from {{ source('raw_stripe', 'invoice_lines') }}

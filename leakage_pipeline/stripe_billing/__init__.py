"""Everything that reads Stripe: a gentle HTTP reader, JSON flattened to typed rows, loads by group.

Only reading lives here: nothing in this package can change anything in a Stripe account.
"""

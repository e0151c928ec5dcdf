"""A Stripe billing engine: a subscription's life as dated commands in, exact Stripe JSON out.

`commands` says what can happen, `account.bill` plays it. It prices and prorates by Stripe's
documentation and recordings, and shares no code with the audit that it is used to check.
"""

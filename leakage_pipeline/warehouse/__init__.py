"""The Postgres warehouse: the embedded server, table specs, bulk loads and the `ops` schema.

Knows nothing about Stripe, usage or contracts; those packages hand in their table specs.
"""

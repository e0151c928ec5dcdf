"""Everything that Dagster sees: resources, and one folder of assets and checks per domain.

Each asset reads its configuration, calls one function of the package of the same name, writes and
reports. Every module here is imported when the code location loads, so none has side effects.
"""

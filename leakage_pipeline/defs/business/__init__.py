"""Contracts, price book, accounts and the audit's settings as assets."""

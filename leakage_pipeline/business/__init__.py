"""Reads what was agreed and what the product believes: contracts, price book, accounts and more.

Every reader turns text into exact, checked values; a row that contradicts itself or cannot be read
is set aside with its reason, and the others go on.
"""

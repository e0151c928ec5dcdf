"""Proofs of the pricing: worked cases of other billing engines, an oracle, drawn charges."""

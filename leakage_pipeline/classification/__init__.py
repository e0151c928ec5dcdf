"""From a finding to a category and a next action, by stated rules or by Anthropic.

The model advises only: its answer is checked against the finding type's closed lists and against
the evidence, and the rules decide whenever it does not hold.
"""

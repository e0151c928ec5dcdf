"""What customers are told: one template per next action, replaceable by a company's own."""

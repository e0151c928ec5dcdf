"""Which customers a night must price anew, and their rows, so that it costs what changed."""

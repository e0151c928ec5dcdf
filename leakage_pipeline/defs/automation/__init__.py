"""When and how the pipeline runs: jobs, schedules, failure alert, and what a terminal shows."""

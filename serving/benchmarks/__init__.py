"""Compare search methods on held-out tuning tasks: suites, runs, reports and timings."""

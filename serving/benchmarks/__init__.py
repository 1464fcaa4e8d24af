"""Compare search methods on held-out tuning tasks: suites, rivals, runs, reports and timings."""

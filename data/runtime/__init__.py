"""What programs need to run anywhere: whole files, one thread, worker processes."""

"""What lasts: runs, sweeps, jobs, visitors, arrays."""

"""Benchmarks: run with `make bench`; ratios within one run, because machines are noisy."""

"""Arithmetic of differential privacy: upper bounds, lower bounds, guarantees.  It knows no run."""

"""Privacy accounting of Gaussian mechanisms: epsilon, privacy profiles, noise calibration."""

"""What is asked for: the experiment, its sections, its checks."""

"""Poisoning attacks: malicious clients harm the model."""

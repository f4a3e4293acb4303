"""Membership inference by an outsider, who sees only the released model."""

"""Membership inference by somebody who sees the released model."""

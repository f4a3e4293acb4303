"""Membership inference by a server that sees each client's updates."""

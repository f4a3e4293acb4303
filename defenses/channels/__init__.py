"""Channels without masks."""

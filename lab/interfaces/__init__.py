"""What a component is, and what passes through it.  Read these files first."""

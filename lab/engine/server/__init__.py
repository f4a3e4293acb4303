"""The server's step: pre-aggregation, aggregation rule, influence."""

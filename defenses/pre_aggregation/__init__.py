"""Pre-aggregators: they change the updates before the aggregation rule."""

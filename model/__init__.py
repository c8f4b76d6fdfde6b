"""The network, its sharding and its loss. Knows nothing of data, runs or configs."""

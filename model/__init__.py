"""The network, its sharding and its loss. It knows nothing of data, runs or configs.

The name of an array ends with one letter for each of its dimensions: B batch, L sequence, D model width, N query heads, K key and value
heads, G query heads that share a key head (N / K), H head width, F feed-forward width, V vocabulary, S key length, E experts, X width of an
expert, A experts of a token, Q or Z narrow vectors between two products, U rank of an adapter. The parameters of all layers are stacked;
this first dimension R (layers) is not part of their names.
"""

"""What others can check without trusting us: Merkle trees, signatures and logs that only grow."""

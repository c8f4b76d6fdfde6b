"""Several processes that train one run: which of them this is, and how they find each other."""

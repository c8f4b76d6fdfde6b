"""A prepared corpus on disk, and several corpora that are read as one."""

"""How to start: the command line and the public API over configs, data, model and train."""

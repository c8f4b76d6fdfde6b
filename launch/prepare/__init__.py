"""What `varietas prepare` shows of the losses of each language."""

"""What a document is, the languages it may be in, and the text that is installed with Varietas."""

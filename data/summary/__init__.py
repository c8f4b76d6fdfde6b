"""What a run has read, for the public: the summary of training content, and the metadata of a corpus."""

"""What was in a step, and proof of it: one file for each verb of `varietas audit`."""

SUMMARY = "what was in a step, which steps saw a document, and proof of it; `varietas audit --help` lists the verbs"
VERBS = ("documents", "find", "verify", "prove", "check", "sign", "remove", "exposure", "commit", "seal", "summary", "croissant")

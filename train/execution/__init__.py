"""Steps are carried out, and what follows when one of them or a device goes wrong."""

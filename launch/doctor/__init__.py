"""What `varietas doctor` looks at, and what it says about it."""

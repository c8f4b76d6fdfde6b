"""Small runs that tell what large ones will do: their layout, the laws that fit them, and what follows."""

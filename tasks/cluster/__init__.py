"""A cluster's story: create, configure, start, stop, delete, adopt, examples."""

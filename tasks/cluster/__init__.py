"""A cluster's lifecycle: create, configure, start, stop, delete, adopt; and the examples that check it."""

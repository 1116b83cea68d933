"""A program that writes the names of one copy to a hosts file. Root runs it, with nothing but this folder."""

"""What another table taught, for surrogates that have seen few labels of theirs. See README.md beside."""

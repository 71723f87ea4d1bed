"""NAS-Bench-101 without its file: what graph networks say of all 423,624 cells. See README.md beside."""

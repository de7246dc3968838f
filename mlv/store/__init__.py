"""Files of an experiment: where they lie, how they are written whole or appended, and who may write them."""

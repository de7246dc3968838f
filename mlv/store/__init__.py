"""Files of an experiment: their paths, writing them whole or appending to them, and the right to write them."""

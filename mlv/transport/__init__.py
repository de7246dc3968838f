"""The way from `log()` to the file: a ring between two processes and the writer that drains it, or one process doing both."""

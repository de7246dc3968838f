"""The output of a process and its children, copied into the experiment."""

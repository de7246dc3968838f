"""What a process and its children print, copied into the experiment."""

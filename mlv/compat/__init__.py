"""Drop-in modules: scripts written for other loggers run after changing their import line, and every record is an event."""

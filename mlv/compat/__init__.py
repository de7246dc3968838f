"""Drop-in modules: a script written for another logger runs after changing its import line, and is an experiment as well."""

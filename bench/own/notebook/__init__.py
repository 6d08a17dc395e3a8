"""bench in a notebook: the command line's runs on objects that are in memory, with results that show themselves."""

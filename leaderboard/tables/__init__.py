"""Tables for papers and data frames: what the pages show, as text, Markdown, CSV and LaTeX."""

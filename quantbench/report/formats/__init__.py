"""Tables in the formats that are written: Markdown, LaTeX, HTML, CSV."""

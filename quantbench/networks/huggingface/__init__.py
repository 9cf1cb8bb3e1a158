"""Networks of the transformers library, and files of other programs that hold their weights."""

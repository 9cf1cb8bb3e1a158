"""How answers are judged: what each sample contributes, and the figure of a set of samples."""

"""From overrides to cells: composing, the typed cell and its key, which jobs a sweep needs."""

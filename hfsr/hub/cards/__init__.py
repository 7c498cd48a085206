"""Model cards: their content, template, results, and changes to cards that exist."""

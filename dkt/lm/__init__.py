"""Language models: n-grams, ARPA files, grammars."""
